"""What a dataset offers, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

PartName = Literal["train", "val"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Images and their labels, in one order.

    Attributes:
        images: uint8 [N, C, H, W], C is 1 (gray) or 3 (RGB), H = W.
        labels: int64 [N], each in [0, number of classes).
    """

    images: Images
    labels: Labels


class Dataset(Protocol):
    """A dataset where it lies. Making one decodes no image; only ``test`` opens test images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label, at least two."""

    @property
    def channels(self) -> int:
        """1 (gray) or 3 (RGB)."""

    @property
    def image_size(self) -> int:
        """Height and width, in pixels, of the images that ``read`` and ``test`` return."""

    @property
    def validation_fraction(self) -> float:
        """Share of the training images to set apart where there is no validation part."""

    @property
    def has_test(self) -> bool: ...

    def identity(self) -> str:
        """Differs wherever labels or images of the training and validation parts differ."""

    def labels(self) -> tuple[Labels, Labels | None]:
        """Labels of the training part and, where the dataset has one, of its validation part."""

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        """Decode these images: uint8 [len(indices), C, H, W], in the order of ``indices``.

        Raises:
            InputError: naming the files that are no readable images.
        """

    def test(self) -> Part:
        """Read the test set.

        Raises:
            InputError: if there is none or an image of it cannot be read.
        """


@runtime_checkable
class Downloadable(Protocol):
    """What a dataset offers besides, if its files may have to be fetched before they are read."""

    @property
    def root(self) -> Path:
        """The folder that they are in, or will be."""

    def missing(self) -> str | None:
        """What will be fetched, and from where; None if it is there. No file is opened."""


@runtime_checkable
class ImageFiles(Protocol):
    """What a dataset offers besides, if each image is a file that Pillow reads: streaming it."""

    @property
    def root(self) -> Path:
        """The folder that every file lies below."""

    def names(self, part: PartName, indices: Sequence[int] | Labels) -> list[bytes]:
        """Paths of these images below ``root``, as the file system spells them."""
