"""The base class of datasets whose images and labels are arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.errors import InputError
from dgkd_search.utils.hashing import sha256

_MOST_CLASSES = 2**16


class InMemoryDataset(ABC):
    """A dataset of named arrays.

    The arrays are ``train_images`` and ``train_labels``, optionally the same for ``val`` and
    ``test``, and optionally ``classes``. Images: uint8 [N, H, H] (gray), [N, H, H, C] or
    [N, C, H, H] with C 1 or 3. Labels: integers [N] from 0. Classes: names by label; by default
    the labels themselves. Test images are read only by ``test``.

    Args:
        names: names of the available arrays.
        image_size: height and width in pixels, or None for the size of the images.

    Raises:
        InputError: an array is missing, unknown or has a wrong shape, type or value.
    """

    validation_fraction = 0.1

    def __init__(self, names: Collection[str], image_size: int | None = None) -> None:
        self._names = frozenset(names)
        self._check_names()
        images, labels = self._part("train")
        self.channels, self._own_size = images.shape[1], images.shape[2]
        self.image_size = image_size or self._own_size
        self.classes = self._classes(labels)
        self.has_test = "test_images" in self._names

    @abstractmethod
    def _array(self, name: str) -> NDArray[Any]:
        """Return an array; raise InputError if it cannot be read."""

    @abstractmethod
    def _wrong(self, what: str) -> InputError:
        """Return an error about these arrays."""

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and type of an array."""
        array = self._array(name)
        return array.shape, array.dtype

    def _check_names(self) -> None:
        parts = [f"{part}_images" for part in ("train", "val", "test")]
        labels = [name.replace("images", "labels") for name in parts]
        if unknown := self._names - {*parts, *labels, "classes"}:
            raise self._wrong(f"has unknown arrays: {', '.join(sorted(unknown))}")
        needed = {parts[0], labels[0]}
        for pair in zip(parts, labels, strict=True):
            if self._names & {*pair}:
                needed |= {*pair}
        if missing := needed - self._names:
            raise self._wrong(f"has no {' and no '.join(sorted(missing))}")

    def identity(self) -> str:
        parts = [self._part("train"), *([self._part("val")] if self._has_val else [])]
        arrays = [array for part in parts for array in part]
        shapes = repr([self.classes, *((a.shape, a.dtype.str) for a in arrays)]).encode()
        return sha256(b"".join([shapes, *(array.tobytes() for array in arrays)]))

    def labels(self) -> tuple[Labels, Labels | None]:
        return self._part("train")[1], self._part("val")[1] if self._has_val else None

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        images, _ = self._part(part)
        return self._resized(images[np.asarray(indices, np.int64)])

    def test(self) -> Part:
        if not self.has_test:
            raise self._wrong("has no test_images")
        images, labels = self._load("test")
        self._check(images, labels, "test")
        return Part(self._resized(images), labels)

    def _resized(self, images: Images) -> Images:
        from dgkd_search.data.decoding import resize  # slow to import: it needs Pillow

        return resize(images, self.image_size)

    @property
    def _has_val(self) -> bool:
        return "val_images" in self._names

    @cached_property
    def _parts(self) -> dict[str, tuple[Images, Labels]]:
        return {}

    def _part(self, name: PartName) -> tuple[Images, Labels]:
        if name not in self._parts:
            images, labels = self._load(name)
            if name == "val":
                self._check(images, labels, name)
            self._parts[name] = images, labels
        return self._parts[name]

    def _check(self, images: Images, labels: Labels, part: str) -> None:
        """Compare a part with the training set."""
        if images.shape[1:] != (self.channels, self._own_size, self._own_size):
            raise self._wrong(f"{part}_images are {images.shape[1:]}, unlike train_images")
        if len(labels) and labels.max() >= len(self.classes):
            raise self._wrong(
                f"{part}_labels go up to {labels.max()}, but there are {len(self.classes)} classes"
            )

    def _load(self, part: str) -> tuple[Images, Labels]:
        """Return images [N, C, H, H] and labels [N] of a part, converted from any layout."""
        _, axes = self._layout(part)
        images = self._array(f"{part}_images")
        images = images[:, None] if axes is None else np.ascontiguousarray(images.transpose(axes))
        labels = self._array(f"{part}_labels")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise self._wrong(
                f"{part}_labels are {labels.dtype} {labels.shape}; give integers [{len(images)}]"
            )
        for label in (labels.min(), labels.max()):
            if not 0 <= label < _MOST_CLASSES:
                raise self._wrong(f"{part}_labels: {label} must be from 0 to {_MOST_CLASSES - 1}")
        return images, labels.astype(np.int64)

    def _layout(self, part: str) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Return shape [C, H, H] of a part's images, and the order of their axes (None without a
        channel axis)."""
        shape, dtype = self._header(f"{part}_images")
        layout: tuple[tuple[int, ...], tuple[int, ...] | None] | None = None
        if len(shape) == 3:
            layout = (1, *shape[1:]), None
        elif len(shape) == 4 and shape[1] in (1, 3):
            layout = shape[1:], (0, 1, 2, 3)
        elif len(shape) == 4 and shape[3] in (1, 3):
            layout = (shape[3], *shape[1:3]), (0, 3, 1, 2)
        if layout is None or layout[0][1] != layout[0][2] or dtype != np.uint8 or not shape[0]:
            raise self._wrong(
                f"{part}_images are {dtype} {shape}; give uint8 [N, H, H], [N, H, H, C] or "
                "[N, C, H, H], square, with 1 or 3 channels, and at least one"
            )
        return layout

    def _classes(self, labels: Labels) -> tuple[str, ...]:
        count = int(labels.max()) + 1
        if "classes" not in self._names:
            return tuple(map(str, range(count)))
        names = self._array("classes")
        if names.ndim != 1 or names.dtype.kind != "U" or len(set(names)) < max(count, len(names)):
            raise self._wrong(
                f"classes are {names.dtype} {names.shape}; give {count} different strings"
            )
        return tuple(map(str, names))
