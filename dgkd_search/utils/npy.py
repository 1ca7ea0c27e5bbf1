"""Arrays in .npy files that processes map into memory; pickle is never written or read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_npy_bytes(array: NDArray[Any]) -> bytes:
    """Return the bytes of a .npy file with the array."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def map_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a .npy file into memory; writes to the array stay private.

    Args:
        dtype: required dtype; ``S`` stands for byte strings of any length.
        shape: required shape.

    Raises:
        OSError, EOFError, ValueError: the file is missing or has other contents.
    """
    # Copy on write: processes share the pages until they write, and torch.from_numpy doesn't warn,
    # as it does of read-only arrays. Truncated files raise ValueError here.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if not isinstance(array, np.memmap):
        if isinstance(array, np.lib.npyio.NpzFile):
            array.close()
        raise ValueError(f"{path.name} is not an array")
    fits = array.dtype.kind == "S" if dtype.kind == "S" else array.dtype == dtype
    if not fits or array.shape != shape:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {dtype} {shape}")
    excess = path.stat().st_size - array.offset - array.nbytes
    if excess:
        raise ValueError(f"{path.name} is {excess} bytes too long")
    return np.asarray(array)
