"""Pipes, folders, links, devices and endless files in the place of files: no reader waits."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from helpers.bounded import OutOfBounds, bounded
from helpers.hostile_files import READERS, make_sound_files

from dgkd_search.errors import InputError


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"x")


def _endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**42)  # occupies nothing


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "folder": _folder,
    "endless": _endless,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "lost": lambda path: path.symlink_to("/nonexistent/file"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_sound_files(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_it_at_once(
    folders: dict[str, Path], tmp_path: Path, name: str, kind: str
) -> None:
    if (name, kind) == ("config", "pipe"):
        pytest.skip("`--config <(command)` is read from a pipe")
    reader = READERS[name]
    for pattern in reader.files:
        work = tmp_path / "work"
        shutil.copytree(folders[name], work)
        (path, *_) = sorted(work.rglob(pattern))
        path.unlink()
        KINDS[kind](path)
        with bounded(), contextlib.suppress(InputError):
            reader.read(work)
        shutil.rmtree(work)


def test_a_reader_that_waits_or_takes_all_memory_is_noticed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(OutOfBounds, match="still reading"),
        mock.patch("helpers.bounded._SECONDS", 1),
        bounded(),
        contextlib.suppress(Exception),
    ):
        (tmp_path / "pipe").read_bytes()
    with (
        pytest.raises(OutOfBounds, match="kB more"),
        mock.patch("helpers.bounded._KILOBYTES", 2**12),
        bounded(),
        # Not an object of Python, which may reuse memory that the process already occupies.
        mmap.mmap(-1, 2**26) as memory,
    ):
        memory.write(bytes(2**26))
