"""Freeing device memory, and errors when there is too little."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator

import torch

from dgkd_search.errors import StageFailed
from dgkd_search.training.spec import StageSpec


def free_cached(device: torch.device) -> None:
    """Return cached memory to the device, which other processes may share."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def reraise_oom(spec: StageSpec, fitting: Callable[[], int | None] | None = None) -> Iterator[None]:
    """Raise StageFailed if the device runs out of memory in the body.

    Args:
        spec: the stage that is trained.
        fitting: returns a batch size that fits, or None if no size does; None if the batch size is
            not the cause.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # the frames reference the large tensors
        hint = "raise --gpus-per-trial"
        if fitting is not None:
            size = fitting()
            hint = (
                f"--batch-size {size} fits, or {hint}" if size else f"no smaller size fits, {hint}"
            )
        raise StageFailed(
            f"{spec.architecture.name}: out of memory on the device with batch size "
            f"{spec.recipe.batch_size}; {hint}"
        ) from None


def clear_frames(error: BaseException | None) -> None:
    """Clear the frames behind an error, which would keep a model on the device."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
