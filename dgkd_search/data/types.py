"""The interface of datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.decoding_rules import Decoding

PartName = Literal["train", "val"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Images and their labels.

    Attributes:
        images: uint8 [N, C, H, W] with C 1 (gray) or 3 (RGB) and H = W.
        labels: int64 [N], each in [0, number of classes).
    """

    images: Images
    labels: Labels


class Dataset(Protocol):
    """A dataset. Its constructor decodes no image, and only ``test`` decodes test images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label, at least two."""

    @property
    def channels(self) -> int:
        """1 (gray) or 3 (RGB)."""

    @property
    def image_size(self) -> int:
        """Height and width in pixels of the images that ``read`` and ``test`` return."""

    @property
    def validation_fraction(self) -> float:
        """Share of the training images to validate on if there is no validation set."""

    @property
    def has_test(self) -> bool: ...

    def identity(self) -> str:
        """Return a text that changes whenever images or labels of these two parts change."""

    def labels(self) -> tuple[Labels, Labels | None]:
        """Return the labels of the training set and of the validation set (None without one)."""

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        """Decode images of a part: uint8 [len(indices), C, H, W], in the order of ``indices``.

        Raises:
            InputError: names the files that are not readable images.
        """

    def test(self) -> Part:
        """Read the test set.

        Raises:
            InputError: there is none, or one of its images cannot be read.
        """


@runtime_checkable
class Downloadable(Protocol):
    """The additional interface of a dataset whose files may have to be downloaded."""

    @property
    def root(self) -> Path:
        """The folder of the files; it may not exist yet."""

    def missing(self) -> str | None:
        """Return what will be downloaded from where; None if nothing. No file is opened."""


@runtime_checkable
class ImageFiles(Protocol):
    """The additional interface of a streamable dataset, whose images are files for Pillow."""

    @property
    def root(self) -> Path:
        """The folder that contains all files."""

    def names(self, part: PartName, indices: Sequence[int] | Labels) -> list[bytes]:
        """Return the paths of these images relative to ``root``, encoded as in the file system."""


@runtime_checkable
class ListsTestFiles(Protocol):
    """The additional interface of a dataset whose test images are files."""

    def test_files(self) -> list[Path]:
        """Return the paths of the test images; none is opened, and the list may be empty."""


@runtime_checkable
class Notes(Protocol):
    """The additional interface of a dataset that leaves out or converts some of what it finds."""

    def notes(self) -> Sequence[str]:
        """Return lines that name what is left out or converted; no image is decoded."""


@runtime_checkable
class DecodedFiles(Protocol):
    """The additional interface of a dataset that decodes image files.

    Attributes:
        decoding: how they are decoded. ``values`` is set when an image of more than 8 bits is met.
    """

    decoding: Decoding

    def measure_values(self) -> None:
        """Set the ``values`` of ``decoding`` from the training images, if they have more bits."""

    def identity_under(self, rules: int) -> str | None:
        """Return the ``identity`` in a version with earlier decoding rules; None if it had none."""

    def all_paths(self) -> list[Path]:
        """Return the files of all parts, also of the test set; none is opened."""
