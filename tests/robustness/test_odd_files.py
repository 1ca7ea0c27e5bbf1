"""Pipes, folders, links, devices and endless files in the place of files: no reader waits."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.hostile_files import READERS, make_sound_files

from dgkd_search.errors import InputError

_SECONDS = 10
_BYTES = 2**30


class _Waited(BaseException):
    """A reader took too long; no ``except Exception`` catches this."""


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


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail after ten seconds, even while the system waits for a pipe, and above one GiB more."""

    def stop(number: int, frame: object) -> None:
        raise _Waited(f"still reading after {_SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + _BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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
