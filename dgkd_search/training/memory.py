"""Device memory: given back, and what to do when there is too little."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator

import torch

from dgkd_search.errors import StageFailed
from dgkd_search.training.spec import StageSpec


def free_cached(device: torch.device) -> None:
    """Give back memory that nobody uses any more: other processes may share the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def reraise_oom(spec: StageSpec, fitting: Callable[[], int | None] | None = None) -> Iterator[None]:
    """Raises StageFailed where the device has too little memory for the stage.

    Args:
        fitting: finds a batch size for which it has enough; None where that isn't what is large.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # they hold what didn't fit
        hint = "give it a larger --gpus-per-trial"
        if fitting is not None:
            size = fitting()
            hint = f"--batch-size {size} fits, or {hint}" if size else f"no smaller fits, {hint}"
        raise StageFailed(
            f"{spec.architecture.name}: out of memory on the device with batch size "
            f"{spec.recipe.batch_size}; {hint}"
        ) from None


def clear_frames(error: BaseException | None) -> None:
    """Drop what the frames behind an error hold: a model would stay on the device with them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
