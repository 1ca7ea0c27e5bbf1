"""Datasets in one .npz file, read without pickle."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.in_memory import InMemoryDataset
from dgkd_search.errors import InputError, one_line

# What zipfile and NumPy raise for files that are damaged, encrypted or not archives.
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


class NpzDataset(InMemoryDataset):
    """A dataset written by ``numpy.savez``; see ``InMemoryDataset`` for its arrays.

    Args:
        path: path of the file.
        image_size: height and width in pixels, or None for the size of the images.
    """

    def __init__(self, path: Path, image_size: int | None = None) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as file:
                names = [name.removesuffix(".npy") for name in file.namelist()]
        except FileNotFoundError:
            raise InputError(f"--data-dir {path}: no such file; {_WAY}") from None
        except _BROKEN as error:
            raise self._wrong(f"is not an .npz file ({error})") from None
        super().__init__(names, image_size)
        if self.has_test:  # reads the header only
            shape = self._layout("test")[0]
            if shape != (self.channels, self._own_size, self._own_size):
                raise self._wrong(f"test_images are {shape}, unlike train_images")

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._member(name) as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0}
            shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(member)
        return shape, dtype

    def _array(self, name: str) -> NDArray[Any]:
        with self._member(name) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array

    @contextlib.contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        """Open an array of the file; errors name the file."""
        try:
            with zipfile.ZipFile(self._path) as file, file.open(f"{name}.npy") as member:
                yield member
        except InputError:
            raise
        except _BROKEN as error:
            raise self._wrong(f"{name} can't be read ({error})") from None

    def _wrong(self, what: str) -> InputError:
        return InputError(f"--data-dir {self._path}: {one_line(what)}; {_WAY}")
