"""Accuracy of a model on validation and test images."""

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
    """Return the student's test accuracy in percent, and an error message.

    Both are None if there is no test set, otherwise exactly one of them.
    """
    try:
        if not has_test(config):
            return None, None
        part = load_test(config, info.decoded_by)
    except InputError as error:
        return None, "; ".join(error.messages)
    except OSError as error:
        return None, one_line(error)
    return accuracy_on_part(part, info, spec, weights), None


def accuracy_on_part(part: Part, info: DataInfo, spec: StageSpec, weights: bytes) -> float:
    """Return a student's accuracy in percent on ``part``.

    It is computed on the CPU in full precision, as a user who loads the student would. It uses all
    cores, because no trial runs at that time.
    """
    normalize = Normalize(info.mean, info.std)
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    with deterministic(Numerics(threads=cores())):
        return accuracy(load_model(spec, weights), to_batches(normalize, images, labels))


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the share of images that ``model`` classifies correctly, in percent.

    NaN if any logit is not finite, as argmax would count a diverged model's outputs as class 0.

    Args:
        model: maps images to logits [B, C]; left in eval mode.
        batches: normalized images and their labels; at least one batch.
    """
    model.eval()
    right: Tensor | int = 0
    finite: Tensor | bool = True
    count = 0
    with torch.inference_mode():
        for images, labels in batches:
            logits = model(images)
            # Sums stay on the device, so that the host does not wait for each batch.
            right = right + (logits.argmax(dim=1) == labels).sum()
            finite = finite & logits.isfinite().all()
            count += len(labels)
    return 100 * int(right) / count if finite else math.nan
