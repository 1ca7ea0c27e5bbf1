"""The base class of datasets whose images and labels are arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.array_images import Layout, image_layout, to_pixels
from dgkd_search.data.array_labels import begin_at_one, class_numbers
from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.errors import InputError
from dgkd_search.utils.hashing import sha256

_MOST_CLASSES = 2**16
_SHOWN = 8  # names of unknown arrays in a message


class InMemoryDataset(ABC):
    """A dataset of named arrays.

    The arrays are ``train_images`` and ``train_labels``, optionally the same for ``val`` and
    ``test``, and optionally ``classes``. Images: uint8 [N, H, H] (gray), [N, H, H, C] or
    [N, C, H, H] with C 1 or 3. Labels: integers [N] or [N, 1] from 0. Classes: names by label; by
    default the labels themselves. Test images are read only by ``test``.

    Other types and labels are converted if they have one meaning only; ``notes`` names each
    conversion. See ``array_images`` and ``array_labels``.

    Args:
        names: names of the available arrays.
        image_size: height and width in pixels, or None for the size of the images.

    Raises:
        InputError: an array is missing, unknown or has a wrong shape, type or value.
    """

    validation_fraction = 0.1

    def __init__(self, names: Collection[str], image_size: int | None = None) -> None:
        self._names = frozenset(names)
        self._notes: dict[str, None] = {}  # in order, each once
        self._units: dict[str, bool] = {}  # by part with floats: whether they are in 0..1
        self._first_label = 0
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
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise self._wrong(f"has unknown arrays: {', '.join(sorted(unknown)[:_SHOWN])}{more}")
        needed = {parts[0], labels[0]}
        for pair in zip(parts, labels, strict=True):
            if self._names & {*pair}:
                needed |= {*pair}
        if missing := needed - self._names:
            raise self._wrong(f"has no {' and no '.join(sorted(missing))}")

    def notes(self) -> Sequence[str]:
        """Return a line for each conversion of the parts that have been read."""
        return tuple(self._notes)

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
        layout = self._layout(part)
        images = layout.arrange(self._pixels(part))
        return images, self._labels(part, len(images))

    def _layout(self, part: str) -> Layout:
        try:
            return image_layout(*self._header(f"{part}_images"))
        except ValueError as error:
            raise self._wrong(f"{part}_images are {error}") from None

    def _pixels(self, part: str) -> Images:
        """Return the images of a part as uint8, in the layout of their array."""
        try:
            pixels = to_pixels(self._array(f"{part}_images"))
        except ValueError as error:
            raise self._wrong(f"{part}_images {error}") from None
        if pixels.unit is not None:
            self._units[part] = pixels.unit
            if pixels.unit != self._units.get("train", pixels.unit):
                ranges = ("0..255", "0..1")
                raise self._wrong(
                    f"{part}_images are in {ranges[pixels.unit]}, train_images in "
                    f"{ranges[not pixels.unit]}; scale them alike"
                )
        self._add_note(pixels.note)
        return pixels.images

    def _labels(self, part: str, count: int) -> Labels:
        """Return the labels of a part, from 0."""
        try:
            labels, note = class_numbers(self._array(f"{part}_labels"), count)
        except ValueError as error:
            raise self._wrong(f"{part}_labels {error}") from None
        self._add_note(note)
        if part == "train" and begin_at_one(labels) and self._class_count in (None, labels.max()):
            self._first_label = 1
            most = int(labels.max())
            self._add_note(f"labels begin at 1: 1 to {most} were read as the {most} classes")
        first = self._first_label
        for label in (labels.min(), labels.max()):
            if not first <= label < _MOST_CLASSES:
                why = ", as train_labels begin at 1" if first else ""
                raise self._wrong(
                    f"{part}_labels: {label} must be from {first} to {_MOST_CLASSES - 1}{why}"
                )
        return labels.astype(np.int64) - first

    def _add_note(self, note: str | None) -> None:
        if note is not None:
            self._notes[note] = None

    @property
    def _class_count(self) -> int | None:
        """The number of class names; None without names."""
        return self._array("classes").size if "classes" in self._names else None

    def _classes(self, labels: Labels) -> tuple[str, ...]:
        count = int(labels.max()) + 1
        if "classes" not in self._names:
            return tuple(str(label + self._first_label) for label in range(count))
        array = self._array("classes")
        try:
            names = tuple(map(str, array)) if array.ndim == 1 and array.dtype.kind == "U" else ()
        except (SystemError, ValueError):  # NumPy's, for bytes that are no characters
            names = ()
        if len(set(names)) < max(count, len(names), 1):
            raise self._wrong(
                f"classes are {array.dtype} {array.shape}; give {count} different strings"
            )
        return names
