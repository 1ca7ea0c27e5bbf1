"""Data where training happens: arrays on a device, batch by batch, and evaluation on them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dgkd_search.data import DataInfo, PreparedData
from dgkd_search.data.views import Views

# Pixels of an evaluation batch, by device type: 512 images of 32 × 32 on a CPU, 4096 on a GPU.
_EVALUATION_PIXELS = {"cpu": 2**19, "cuda": 2**22}
_LEAST, _MOST = 16, 4096


class TrainingData(Protocol):
    """The training and validation parts, wherever their images lie."""

    info: DataInfo
    device: torch.device
    count: int

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Views of the training part, for each batch of rows.

        Args:
            batches: int64 [B] on the CPU, places in the training part.
            views: of the training part.
            bank: which of each image's views.

        Yields:
            The rows, on the device, and normalised float [B, channels, size, size].
        """

    def labels(self, rows: Tensor) -> Tensor:
        """int64 [B], for rows on the device."""

    def in_order(self) -> Sequence[Tensor]:
        """Rows of the whole training part in large batches, for what needs no gradient."""

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation part in large batches: normalised images and labels."""


class DeviceData:
    """Prepared data as tensors on a device; loaded once and shared by every stage of a process.

    Attributes:
        count: number N of training images.
        images, train_labels: the training part, uint8 [N, C, H, W] and int64 [N].
        val_images, val_labels: the validation part.
    """

    def __init__(self, prepared: PreparedData, device: torch.device) -> None:
        self.info = prepared.info
        self.device = device
        train, validation = prepared.train(), prepared.validation()
        self.count = len(train.labels)
        self.images = torch.from_numpy(train.images).to(device)
        self.train_labels = torch.from_numpy(train.labels).to(device)
        self.val_images = torch.from_numpy(validation.images).to(device)
        self.val_labels = torch.from_numpy(validation.labels).to(device)
        self.normalise = Normalise(self.info.mean, self.info.std).to(device)

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in split_to(batches, self.device):
            yield rows, self.normalise(views.apply(self.images[rows], rows, bank))

    def labels(self, rows: Tensor) -> Tensor:
        return self.train_labels[rows]

    def in_order(self) -> Sequence[Tensor]:
        return torch.split(
            torch.arange(self.count), evaluation_batch(self.device, self.info.image_size)
        )

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = evaluation_batch(self.device, self.info.image_size)
        return in_batches(self.normalise, self.val_images, self.val_labels, size)


def in_batches(
    normalise: nn.Module, images: Tensor, labels: Tensor, size: int = 512
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 [N, C, H, W] and labels [N] as ``accuracy`` takes them."""
    for some, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        yield normalise(some), truth


def split_to(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """The batches on a device, moved there in one copy."""
    if device.type == "cpu" or not batches:
        return batches
    whole = torch.cat(list(batches)).pin_memory().to(device, non_blocking=True)
    return torch.split(whole, [len(batch) for batch in batches])


def evaluation_batch(device: torch.device, image_size: int) -> int:
    """Images of a batch without gradients; fixed, for it decides the last bits."""
    pixels = _EVALUATION_PIXELS.get(device.type, 2**19)
    return max(_LEAST, min(_MOST, pixels // image_size**2))


def cores() -> int:
    """CPU cores that this process may use: fewer than the machine's under Slurm or taskset."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


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
