"""Prepared data on a device, and how a model fares on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData

_EVALUATION_BATCH = 512


class DeviceData:
    """Prepared data as tensors on a device; loaded once and shared by every stage of a process.

    Attributes:
        images, labels: the training part, uint8 [N, C, H, W] and int64 [N].
        val_images, val_labels: the validation part.
    """

    def __init__(self, prepared: PreparedData, device: torch.device) -> None:
        self.info = prepared.info
        self.device = device
        train, validation = prepared.train(), prepared.validation()
        self.images = torch.from_numpy(train.images).to(device)
        self.labels = torch.from_numpy(train.labels).to(device)
        self.val_images = torch.from_numpy(validation.images).to(device)
        self.val_labels = torch.from_numpy(validation.labels).to(device)
        self.normalise = Normalise(self.info.mean, self.info.std).to(device)


def free_cached(device: torch.device) -> None:
    """Give back memory that nobody uses any more: other processes may share the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Normalise(nn.Module):
    """Pixels in 0..255 to mean 0 and deviation 1 per channel, as over the training part.

    Args:
        mean, std: per channel, of pixels in [0, 1].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        centre = torch.tensor(mean).view(1, -1, 1, 1)
        spread = torch.tensor(std).view(1, -1, 1, 1)
        self.register_buffer("scale", 1 / (255 * spread), persistent=False)
        self.register_buffer("shift", -centre / spread, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 or float [B, C, H, W] to float [B, C, H, W]."""
        normalised: Tensor = images.float() * self.scale + self.shift
        return normalised


def accuracy(model: nn.Module, normalise: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of ``images`` (uint8 [N, C, H, W]) that ``model`` classifies rightly, in percent.

    NaN where a logit isn't finite: a broken model is no model of the first class.
    """
    model.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    finite = torch.ones((), dtype=torch.bool, device=labels.device)
    with torch.inference_mode():
        for batch, truth in zip(
            torch.split(images, _EVALUATION_BATCH),
            torch.split(labels, _EVALUATION_BATCH),
            strict=True,
        ):
            logits = model(normalise(batch))
            right += (logits.argmax(dim=1) == truth).sum()
            finite &= logits.isfinite().all()
    return 100 * int(right) / len(labels) if finite else math.nan
