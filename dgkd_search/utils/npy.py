"""Arrays in .npy files that processes map into memory; pickle is never written or read.

A header is untrusted: its length is limited before it is read, and the size that it promises is
compared with the file before memory is allocated.
"""

from __future__ import annotations

import io
import math
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
# By version of the format: bytes of the length field, and NumPy's parser (3.0 is 2.0 in UTF-8).
_VERSIONS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
    (3, 0): (4, np.lib.format.read_array_header_2_0),
}
_LONGEST = 10_000  # bytes of a header; NumPy refuses longer ones too, but reads them first


@dataclass(frozen=True)
class NpyHeader:
    """What a .npy file promises.

    Attributes:
        shape: of the array; no length is negative.
        dtype: type of its values.
        fortran_order: whether the first axis varies fastest.
        offset: position of the first value in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of all values, as an exact integer."""
        return math.prod(self.shape) * self.dtype.itemsize


def to_npy_bytes(array: NDArray[Any]) -> bytes:
    """Return the bytes of a .npy file with the array."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header of a .npy file; at most 10 kB are read.

    Raises:
        ValueError: there is no header, or it is malformed.
        OSError, EOFError: the stream cannot be read.
    """
    start = stream.read(len(_MAGIC) + 2)
    if start[:-2] != _MAGIC:
        raise ValueError("is no array in NumPy's format")
    version = start[-2], start[-1]
    if version not in _VERSIONS:
        raise ValueError(f"has version {version[0]}.{version[1]} of the format, which is unknown")
    width, parse = _VERSIONS[version]
    field = stream.read(width)
    length = int.from_bytes(field, "little")
    if len(field) < width or length > _LONGEST:
        raise ValueError("has a damaged header")
    text = stream.read(length)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy and Python's parser warn of odd headers
            shape, fortran_order, dtype = parse(io.BytesIO(field + text))
    except Exception:  # the parsers raise many kinds of errors for odd headers
        raise ValueError("has a damaged header") from None
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError("has a shape that is no shape")
    return NpyHeader(shape, dtype, fortran_order, len(start) + len(field) + len(text))


def open_array(path: Path) -> np.memmap[Any, np.dtype[Any]]:
    """Map a .npy file into memory; writes to the array stay private.

    Raises:
        OSError, EOFError, ValueError: the file is missing, damaged, or has another size than its
            header promises.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        try:
            header = read_header(file)
        except ValueError as error:
            raise ValueError(f"{path.name} {error}") from None
        size = file.seek(0, io.SEEK_END)
    if header.dtype.hasobject:
        raise ValueError(f"{path.name} holds Python objects")
    excess = size - header.offset - header.nbytes
    if excess:
        wrong = f"{excess} bytes too long" if excess > 0 else f"{-excess} bytes too short"
        raise ValueError(f"{path.name} is {wrong}")
    # Copy on write: processes share the pages until they write, and torch.from_numpy doesn't warn,
    # as it does of read-only arrays.
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.memmap(path, header.dtype, "c", header.offset, header.shape, order)


def map_array(path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Map a .npy file into memory like ``open_array``, and check its contents.

    Args:
        dtype: required dtype; ``S`` stands for byte strings of any length.
        shape: required shape; None stands for any length.

    Raises:
        OSError, EOFError, ValueError: the file is missing or has other contents.
    """
    array = open_array(path)
    fits = array.dtype.kind == "S" if dtype.kind == "S" else array.dtype == dtype
    same = len(array.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or not same:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {dtype} {shape}")
    return np.asarray(array)
