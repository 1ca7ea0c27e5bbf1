"""Data where training happens: arrays on a device, batch by batch, and evaluation on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dgkd_search.data import DataInfo, PreparedData
from dgkd_search.data.augmentation import Views
from dgkd_search.models.layers import Normalize

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
            The rows, on the device, and normalized float [B, channels, size, size].
        """

    def labels(self, rows: Tensor) -> Tensor:
        """int64 [B], for rows on the device."""

    def in_order(self) -> Sequence[Tensor]:
        """Rows of the whole training part in large batches, for what needs no gradient."""

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation part in large batches: normalized images and labels."""


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
        self.normalize = Normalize(self.info.mean, self.info.std).to(device)

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in split_to(batches, self.device):
            yield rows, self.normalize(views.apply(self.images[rows], rows, bank))

    def labels(self, rows: Tensor) -> Tensor:
        return self.train_labels[rows]

    def in_order(self) -> Sequence[Tensor]:
        return torch.split(
            torch.arange(self.count), evaluation_batch(self.device, self.info.image_size)
        )

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = evaluation_batch(self.device, self.info.image_size)
        return to_batches(self.normalize, self.val_images, self.val_labels, size)


def to_batches(
    normalize: nn.Module, images: Tensor, labels: Tensor, size: int = 512
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 [N, C, H, W] and labels [N] as ``accuracy`` takes them."""
    for some, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        yield normalize(some), truth


def split_to(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """The batches on a device, moved there in one copy."""
    if device.type == "cpu" or not batches:
        return batches
    joined = torch.cat(list(batches)).pin_memory().to(device, non_blocking=True)
    return torch.split(joined, [len(batch) for batch in batches])


def evaluation_batch(device: torch.device, image_size: int) -> int:
    """Images of a batch without gradients; fixed, for it decides the last bits."""
    pixels = _EVALUATION_PIXELS.get(device.type, 2**19)
    return max(_LEAST, min(_MOST, pixels // image_size**2))
