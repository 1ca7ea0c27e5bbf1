"""The only module that writes to a store or a run folder (SQLite writes study.db itself).

A file or folder becomes visible whole or not at all: it is written under a temporary name beside
its target, flushed to the disk, and renamed. Every change goes through a function of ``os``, one
at a time, so that tests can end the process, or fail, before and after each.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

TEMPORARY = ".tmp-"  # begins the names of what is being written or removed

# What the system says where something else lies in the place of a file or folder. Any other OSError
# (too many open files, missing rights) says nothing about what is there, and is passed on.
MISPLACED = (NotADirectoryError, IsADirectoryError)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, atomically and durably; its folder must exist."""
    temporary = _temporary(path)
    try:
        _write_and_sync(temporary, data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> bool:
    """Make the folder ``path`` with ``files``, atomically and durably.

    Returns:
        False if ``path`` was there already; it is then left as it is.
    """
    make_folder(path.parent)
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        for name, data in files.items():
            _write_and_sync(temporary / name, data)
        sync_folder(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it, durably; what is there already stays."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def new_folder(path: Path) -> None:
    """Make a folder, durably, where those above it are.

    Raises:
        FileExistsError: something is there.
    """
    path.mkdir()
    sync_folder(path.parent)


def remove_empty(path: Path) -> None:
    """Remove a folder with nothing in it; any other is left alone."""
    with contextlib.suppress(OSError):
        path.rmdir()


def remove_file(path: Path) -> None:
    """Remove a file; one that is gone already, or can't be removed, is left alone."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Say that a file or folder was used now, where that may be written."""
    now = time.time()  # left to the system, it may lie before what has happened already
    with contextlib.suppress(OSError):
        os.utime(path, (now, now))


def write_error(path: Path) -> str | None:
    """Why nothing can be made at ``path``; None where it can.

    Tried out with a folder that is gone again: permissions alone don't tell (of /proc, say).
    """
    parent = path.absolute()
    try:
        parent = next(p for p in (parent, *parent.parents) if p.exists())
        probe = _temporary(parent / "probe")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"{parent} is not writable ({error.strerror})"
    return None


def quarantine(path: Path, to: Path) -> Path | None:
    """Move a damaged file or folder into the folder ``to``; None if it is gone already."""
    make_folder(to)
    target = to / f"{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        path.rename(target)
    except FileNotFoundError:
        return None
    return target


def remove_folder(path: Path) -> int:
    """Remove a folder, or a file: it is out of sight at once, under a temporary name, then gone.

    A stop in between leaves a temporary, which nobody reads; of several processes that remove one
    thing, one does.

    Returns:
        Bytes freed; 0 if it is gone already.
    """
    return remove_unless(path, lambda: False) or 0


def remove_unless(path: Path, needed: Callable[[], bool]) -> int | None:
    """``remove_folder``, but put back what turns out to be needed once it is out of sight.

    Who says that he needs it before he looks for it is heard, or finds nothing.

    Returns:
        Bytes freed; None if it is back.
    """
    temporary = _temporary(path)
    try:
        path.rename(temporary)
    except FileNotFoundError:
        return 0
    if needed():
        with contextlib.suppress(OSError):  # another was made meanwhile: this one can go
            temporary.rename(path)
            return None
    sync_folder(path.parent)  # or a power cut could bring it back without its files
    size = size_of(temporary)
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)
    return size - size_of(temporary)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files under a folder; what vanishes meanwhile counts nothing."""
    total = 0
    pending = [path]
    while pending:
        with contextlib.suppress(OSError):
            entry = pending.pop()
            status = entry.lstat()
            if stat.S_ISDIR(status.st_mode):
                pending.extend(entry.iterdir())
            else:
                total += status.st_size
    return total


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:12]}-{path.name}")


def _write_and_sync(path: Path, data: bytes) -> None:
    # Not by open(): what buffers and writes behind it can't be watched.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
