from __future__ import annotations

import os
from pathlib import Path

import pytest

from dgkd_search.utils.hashing import to_checksummed_json
from dgkd_search.utils.limits import (
    JSON_BYTES,
    TooLarge,
    read_checksummed_json,
    read_json,
    read_limited,
    tensors_limit,
)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(TooLarge, match="file is larger than 4 B, the limit"):
        read_limited(path, 4)


def test_a_file_of_a_terabyte_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(TooLarge):
        read_limited(path, tensors_limit())
    with pytest.raises(ValueError, match="larger than"):
        read_json(path)


def test_a_missing_file_and_a_folder_are_errors_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_limited(tmp_path / "missing", 9)
    with pytest.raises(IsADirectoryError):
        read_limited(tmp_path, 0)


@pytest.mark.timeout(20)
def test_a_pipe_without_a_writer_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_json, read_checksummed_json):
        with pytest.raises(TooLarge, match="pipe is not a regular file"):
            read(tmp_path / "pipe")


def test_a_device_is_read_up_to_the_limit() -> None:
    assert read_limited(Path("/dev/null"), 9, pipes=True) == b""
    with pytest.raises(TooLarge):
        read_limited(Path("/dev/zero"), 9, pipes=True)


def test_json_of_any_depth_and_size_is_an_error_of_its_value(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for content in (b"[" * 10**5, b"{", b"9" * 9999, b" " * (JSON_BYTES + 1), b"\xff\xfe"):
        path.write_bytes(content)
        for read in (read_json, read_checksummed_json):
            with pytest.raises(ValueError):
                read(path)
    path.write_bytes(to_checksummed_json({"a": [1]}))
    assert read_checksummed_json(path) == {"a": [1]}
