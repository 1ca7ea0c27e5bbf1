"""Files of arrays are mapped, or refused before memory is allocated."""

from __future__ import annotations

import io
import os
import struct
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


KIND = np.dtype(np.uint8)


def with_header(text: str, data: bytes = b"") -> bytes:
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def header(shape: str, descr: str = "|u1", fortran: bool = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}}}"


def test_an_array_is_mapped_and_writes_stay_private(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path.write_bytes(to_npy_bytes(array))
    for shape in ((2, 3), (None, 3), (None, None)):
        mapped = map_array(path, KIND, shape)
        np.testing.assert_array_equal(mapped, array)
    mapped[0, 0] = 9
    assert path.read_bytes() == to_npy_bytes(array)
    names = np.array([b"a", b"bcd"])
    path.write_bytes(to_npy_bytes(names))
    np.testing.assert_array_equal(map_array(path, np.dtype("S"), (2,)), names)


@pytest.mark.parametrize(
    "content",
    [
        with_header(header("(1000000000000,)"), b"x"),
        with_header(header(f"({2**70},)"), b"x"),
        with_header(header("(-1,)"), b"x"),
        with_header(header("(3,)"), b"x"),
        with_header(header("(1,)"), b"xx"),
        with_header(header("(1, 1)"), b"x"),
        with_header(header("(1,)", "|O"), b"x"),
        with_header(header("(1,)", "<f4"), b"xxxx"),
        with_header(header("x"), b"x"),
        with_header("{" * 50, b"x"),
        with_header("[" + "1," * 40, b"x"),
        with_header(header("('a',)"), b"x"),
        b"",
        b"\x93NUMPY\x07\x00",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"PK\x03\x04" + bytes(99),
        b"\x80\x04N.",
    ],
)
def test_what_a_header_promises_is_compared_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    for shape in ((1,), (None,)):
        with pytest.raises(ValueError, match=r"^a.npy "):
            map_array(path, KIND, shape)


@pytest.mark.timeout(20)
def test_a_pipe_is_no_array(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="is not a regular file"):
        map_array(tmp_path / "a.npy", KIND, (1,))
