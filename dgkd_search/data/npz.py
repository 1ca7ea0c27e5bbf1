"""Datasets in one .npz file, read without pickle."""

from __future__ import annotations

import contextlib
import lzma
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.in_memory import InMemoryDataset
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.formatting import format_bytes
from dgkd_search.utils.npy import NpyHeader, read_header
from dgkd_search.utils.system import available_memory

# What zipfile, its decompressors and NumPy raise for files that are damaged or not archives.
_BROKEN = (
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_ENCRYPTED = 1  # a flag of a zip member
_EXPANSION = 1032  # bytes that one byte of deflated data can hold at most
_SUFFIX = ".npy"
_WAY = "write it with numpy.savez(FILE, train_images=..., train_labels=..., test_images=..., ...)"


class NpzDataset(InMemoryDataset):
    """A dataset written by ``numpy.savez``; see ``InMemoryDataset`` for its arrays.

    Args:
        path: path of the file.
        image_size: height and width in pixels, or None for the size of the images.
    """

    def __init__(self, path: Path, image_size: int | None = None) -> None:
        self._path = path
        self._members = self._list_members()
        self._headers: dict[str, NpyHeader] = {}
        super().__init__(self._members, image_size)
        if self.has_test:  # reads the headers only
            self._promise("test_labels")
            shape = self._layout("test").shape
            if shape != (self.channels, self._own_size, self._own_size):
                raise self._wrong(f"test_images are {shape}, unlike train_images")

    def _list_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members of the archive by the names of their arrays."""
        try:
            if self._path.exists() and not self._path.is_file():  # opening a pipe would wait
                raise self._wrong("is not a regular file")
            with zipfile.ZipFile(self._path) as file:
                infos = file.infolist()
        except FileNotFoundError:
            raise InputError(f"--data-dir {self._path}: no such file; {_WAY}") from None
        except _BROKEN as error:
            raise self._wrong(f"is not an .npz file ({one_line(error, 200)})") from None
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.removesuffix(_SUFFIX)
            if name == info.filename:
                raise self._wrong(f"contains {name or 'a member without a name'}, which is no .npy")
            if name in members:
                raise self._wrong(f"contains {info.filename} twice")
            members[name] = info
        return members

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        header = self._promise(name)
        return header.shape, header.dtype

    def _promise(self, name: str) -> NpyHeader:
        """Return the header of an array, after a check of the size that it promises.

        Raises:
            InputError: the member is damaged, or cannot hold that many bytes.
        """
        if name not in self._headers:
            self._check_compression(name)
            with self._member(name) as member:
                header = read_header(member)
            if header.dtype.hasobject or not header.dtype.itemsize:
                raise self._wrong(f"{name} can't be read (it holds no numbers, but {header.dtype})")
            self._check_size(name, header)
            self._headers[name] = header
        return self._headers[name]

    def _check_compression(self, name: str) -> None:
        """Compare the sizes in the archive's directory with the file."""
        info = self._members[name]
        packed, size = info.compress_size, info.file_size
        if info.flag_bits & _ENCRYPTED:
            raise self._wrong(f"{name} is encrypted")
        most = {zipfile.ZIP_STORED: packed, zipfile.ZIP_DEFLATED: _EXPANSION * packed}
        if packed > self._path.stat().st_size or size > most.get(info.compress_type, size):
            raise self._wrong(
                f"{name} is damaged: it promises {format_bytes(size)} in {format_bytes(packed)}"
            )

    def _check_size(self, name: str, header: NpyHeader) -> None:
        """Compare the size that a header promises with its member and with the free memory."""
        size, free = self._members[name].file_size - header.offset, available_memory()
        if header.nbytes > size:
            raise self._wrong(
                f"{name} is damaged: its header promises {header.dtype} {header.shape}, "
                f"{format_bytes(header.nbytes)}, but {format_bytes(max(0, size))} follow"
            )
        if free is not None and header.nbytes > free:
            raise self._wrong(
                f"{name} needs {format_bytes(header.nbytes)} of memory, and {format_bytes(free)} "
                "are free; use --dataset imagefolder, which can stream images"
            )

    def _array(self, name: str) -> NDArray[Any]:
        self._promise(name)
        with self._member(name) as member, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array

    @contextlib.contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        """Open an array of the file; errors name the file."""
        try:
            with zipfile.ZipFile(self._path) as file, file.open(self._members[name]) as member:
                yield member
        except InputError:
            raise
        except _BROKEN as error:
            raise self._wrong(f"{name} can't be read ({one_line(error, 200)})") from None

    def _wrong(self, what: str) -> InputError:
        return InputError(f"--data-dir {self._path}: {one_line(what)}; {_WAY}")
