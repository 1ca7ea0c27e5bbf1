"""Accuracy of a model, on validation and on test images."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dgkd_search.data import DataInfo, Part, has_test, load_test
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError, one_line
from dgkd_search.models.layers import Normalize
from dgkd_search.training.batches import to_batches
from dgkd_search.training.determinism import deterministic
from dgkd_search.training.recipe import Numerics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.weights import load_model
from dgkd_search.utils.system import cores


def test_accuracy(
    config: DataConfig, info: DataInfo, spec: StageSpec, weights: bytes
) -> tuple[float | None, str | None]:
    """The student's accuracy on the test set in percent, if there is one, or what is wrong."""
    try:
        if not has_test(config):
            return None, None
        part = load_test(config)
    except InputError as error:
        return None, "; ".join(error.messages)
    except OSError as error:
        return None, one_line(error)
    return accuracy_on_part(part, info, spec, weights), None


def accuracy_on_part(part: Part, info: DataInfo, spec: StageSpec, weights: bytes) -> float:
    """A student's accuracy in percent on images that it wasn't trained on.

    On the CPU in full precision, as whoever loads the student will find it; no trial runs now.
    """
    normalize = Normalize(info.mean, info.std)
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    with deterministic(Numerics(threads=cores())):
        return accuracy(load_model(spec, weights), to_batches(normalize, images, labels))


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images that ``model`` classifies rightly, in percent.

    NaN where a logit isn't finite: a broken model is no model of the first class.

    Args:
        model: from images to logits [B, C]; left in eval mode.
        batches: images as the model takes them, and their labels; at least one.
    """
    model.eval()
    right: Tensor | int = 0
    finite: Tensor | bool = True
    count = 0
    with torch.inference_mode():
        for images, labels in batches:
            logits = model(images)
            # Sums stay on the device: nothing waits for it before the end.
            right = right + (logits.argmax(dim=1) == labels).sum()
            finite = finite & logits.isfinite().all()
            count += len(labels)
    return 100 * int(right) / count if finite else math.nan
