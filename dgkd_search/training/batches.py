"""Training and validation data in batches, as tensors on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dgkd_search.data import DataInfo, PreparedData
from dgkd_search.data.augmentation import Views
from dgkd_search.models.layers import Normalize

# Pixels per evaluation batch, by device type: 512 images of 32 × 32 on a CPU, 4096 on a GPU.
_EVALUATION_PIXELS = {"cpu": 2**19, "cuda": 2**22}
_LEAST, _MOST = 16, 4096


class TrainingData(Protocol):
    """The training and validation sets, in memory or streamed."""

    info: DataInfo
    device: torch.device
    count: int

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over views of training images.

        Args:
            batches: rows of the training set for each batch, int64 [B] on the CPU.
            views: the views of the training set.
            bank: number of the bank of views.

        Yields:
            For each batch the rows, int64 [B] on the device, and the views, normalized float
            [B, channels, size, size].
        """

    def labels(self, rows: Tensor) -> Tensor:
        """Return the training labels, int64 [B], of rows on the device."""

    def in_order(self) -> Sequence[Tensor]:
        """Return all rows of the training set in large batches, for passes without gradients."""

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the validation set in large batches: normalized images and labels."""


class DeviceData:
    """Prepared data as tensors on a device, loaded once and shared by all stages of a process.

    Attributes:
        count: number N of training images.
        images, train_labels: the training set, uint8 [N, C, H, W] and int64 [N].
        val_images, val_labels: the validation set, likewise.
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
    """Iterate over normalized images and labels in batches.

    Args:
        normalize: module that normalizes images.
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        size: images per batch.
    """
    for some, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        yield normalize(some), truth


def split_to(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Move the batches to a device in one copy."""
    if device.type == "cpu" or not batches:
        return batches
    joined = torch.cat(list(batches)).pin_memory().to(device, non_blocking=True)
    return torch.split(joined, [len(batch) for batch in batches])


def evaluation_batch(device: torch.device, image_size: int) -> int:
    """Return the batch size of passes without gradients; fixed, as it affects the last bits."""
    pixels = _EVALUATION_PIXELS.get(device.type, 2**19)
    return max(_LEAST, min(_MOST, pixels // image_size**2))
