"""Images that a user has as arrays: one .npz file, read without pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.images import resize
from dgkd_search.data.source import Images, Labels, Part, PartName
from dgkd_search.errors import InputError
from dgkd_search.files import sha256

# What zipfile and NumPy raise of files that were damaged, encrypted, or never archives.
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
_WAY = "write it with numpy.savez(FILE, train_images=..., train_labels=..., test_images=..., ...)"


class Archive:
    """What ``numpy.savez`` has written.

    Arrays ``train_images`` and ``train_labels``, and likewise of ``val`` and ``test`` where there
    are such parts: images uint8 [N, H, H] (grey), [N, H, H, C] or [N, C, H, H] with C 1 or 3;
    labels [N], whole numbers from 0. ``classes``: their names; their numbers without it. Test
    images are not read before ``test``.

    Args:
        path: of the file.
        image_size: height and width in pixels, or None for the images' own.

    Raises:
        InputError: what is wrong with the file.
    """

    validation_fraction = 0.1

    def __init__(self, path: Path, image_size: int | None = None) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as file:
                self._names = frozenset(name.removesuffix(".npy") for name in file.namelist())
        except FileNotFoundError:
            raise InputError(f"--data-dir {path}: no such file; {_WAY}") from None
        except _BROKEN as error:
            raise self._wrong(f"is no .npz file ({error})") from None
        missing = {"train_images", "train_labels"} - self._names
        if missing:
            raise self._wrong(f"has no {' and no '.join(sorted(missing))}")
        images, labels = self._part("train")
        self.channels, self._own_size = images.shape[1], images.shape[2]
        self.image_size = image_size or self._own_size
        self.classes = self._classes(labels)
        self.has_test = "test_images" in self._names

    def identity(self) -> str:
        parts = [self._part("train"), *([self._part("val")] if self._has_val else [])]
        arrays = [array for part in parts for array in part]
        shapes = repr([(array.shape, array.dtype.str) for array in arrays]).encode()
        return sha256(b"".join([shapes, *(array.tobytes() for array in arrays)]))

    def labels(self) -> tuple[Labels, Labels | None]:
        return self._part("train")[1], self._part("val")[1] if self._has_val else None

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        images, _ = self._part(part)
        return resize(images[np.asarray(indices, np.int64)], self.image_size)

    def test(self) -> Part:
        if not self.has_test:
            raise InputError(f"{self._path}: has no test_images")
        images, labels = self._load("test")
        self._check(images, labels, "test")
        return Part(resize(images, self.image_size), labels)

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
        """Compare a part with the training part."""
        if images.shape[1:] != (self.channels, self._own_size, self._own_size):
            raise self._wrong(f"{part}_images are {images.shape[1:]}, unlike train_images")
        if len(labels) and labels.max() >= len(self.classes):
            raise self._wrong(f"{part}_labels go to {labels.max()}; train_labels don't")

    def _load(self, part: str) -> tuple[Images, Labels]:
        """Images [N, C, H, H] and labels of a part, whatever layout they have."""
        images = self._array(f"{part}_images")
        if images.ndim == 3:
            images = images[:, None]
        elif images.ndim == 4 and images.shape[1] not in (1, 3):
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        fits = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[2] == images.shape[3]
        if images.dtype != np.uint8 or not fits:
            raise self._wrong(
                f"{part}_images are {images.dtype} {images.shape}; give uint8 [N, H, H], "
                "[N, H, H, C] or [N, C, H, H], square and with 1 or 3 channels"
            )
        labels = self._array(f"{part}_labels")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise self._wrong(
                f"{part}_labels are {labels.dtype} {labels.shape}; give whole numbers "
                f"[{len(images)}]"
            )
        if len(labels) and labels.min() < 0:
            raise self._wrong(f"{part}_labels: {labels.min()} is below 0")
        return images, labels.astype(np.int64)

    def _classes(self, labels: Labels) -> tuple[str, ...]:
        count = int(labels.max()) + 1 if len(labels) else 0
        if "classes" not in self._names:
            return tuple(map(str, range(count)))
        names = self._array("classes")
        if names.ndim != 1 or names.dtype.kind not in "US" or len(names) < count:
            raise self._wrong(f"classes are {names.dtype} {names.shape}; give {count} names")
        return tuple(map(str, names))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            with zipfile.ZipFile(self._path) as file, file.open(f"{name}.npy") as member:
                found: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
                return found
        except KeyError:
            raise self._wrong(f"has no {name}") from None
        except _BROKEN as error:
            raise self._wrong(f"{name} can't be read ({error})") from None

    def _wrong(self, what: str) -> InputError:
        return InputError(f"--data-dir {self._path}: {' '.join(what.split())}; {_WAY}")
