"""Files of arrays are mapped, or refused before memory is allocated."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from dgkd_search.utils.npy import map_array, open_array, read_header, to_npy_bytes

ARRAY = np.arange(24, dtype=np.int64).reshape(2, 3, 4)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_mapped_in_either_order(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(ARRAY, order=order))  # type: ignore[call-overload]
    assert (map_array(path, np.dtype(np.int64), (2, 3, 4)) == ARRAY).all()


def test_writes_stay_private(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(to_npy_bytes(ARRAY))
    open_array(path)[:] = 0
    assert (open_array(path) == ARRAY).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (to_npy_bytes(ARRAY)[:-8], "a.npy is 8 bytes too short"),
        (to_npy_bytes(ARRAY) + b"x", "a.npy is 1 bytes too long"),
        (b"", "a.npy is no array"),
        (b"PK\3\4", "a.npy is no array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "a.npy has a damaged header"),
        (to_npy_bytes(ARRAY).replace(b"(2, 3, 4)", b"(2, 3,-4)"), "a shape that is no shape"),
        (to_npy_bytes(ARRAY).replace(b"(2, 3, 4)", b"(9**9**9)"), "a.npy has a damaged header"),
        (to_npy_bytes(ARRAY).replace(b"<i8", b"|O8"), "a.npy holds Python objects"),
        (to_npy_bytes(ARRAY.astype(np.int32)), "a.npy holds int32"),
        (to_npy_bytes(ARRAY[:1]), r"a.npy holds int64 \(1, 3, 4\), not int64 \(2, 3, 4\)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        map_array(path, np.dtype(np.int64), (2, 3, 4))


def test_a_header_of_python_2_is_read_in_silence() -> None:
    header = read_header(io.BytesIO(to_npy_bytes(ARRAY).replace(b"(2, 3, 4)", b"(2L,3L,4)")))
    assert header.shape == (2, 3, 4)
    assert header.nbytes == ARRAY.nbytes
