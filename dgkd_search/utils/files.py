"""The only module that writes to a store or a run folder (except that SQLite writes study.db).

Files and folders appear atomically: they are written under a temporary name beside the target,
flushed to the disk, and renamed. Each change is one call of a function of ``os``, so that tests can
end the process, or raise an error, before and after each.
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

from dgkd_search.errors import InputError

TEMPORARY = ".tmp-"  # prefix of files and folders that are being written or removed

# Errors that mean that a path has the wrong type: a file instead of a folder, or the reverse. Any
# other OSError (too many open files, missing permission) says nothing about the path.
MISPLACED = (NotADirectoryError, IsADirectoryError)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, or replace it, atomically and durably; its folder must exist."""
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
    """Create the folder ``path`` with ``files``, atomically and durably.

    Returns:
        False if ``path`` already existed; it is then unchanged.
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
    """Create a folder and its parents durably, unless they exist."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def new_folder(path: Path) -> None:
    """Create a folder durably; its parent must exist.

    Raises:
        FileExistsError: the path already exists.
    """
    path.mkdir()
    sync_folder(path.parent)


def remove_empty(path: Path) -> None:
    """Remove a folder if it is empty; ignore errors."""
    with contextlib.suppress(OSError):
        path.rmdir()


def remove_file(path: Path) -> None:
    """Remove a file; ignore errors."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Set the time of a file or folder to now; ignore errors."""
    now = time.time()  # the system's own time of the call may be a little earlier
    with contextlib.suppress(OSError):
        os.utime(path, (now, now))


def write_error(path: Path) -> str | None:
    """Return why ``path`` can't be created, or None if it can.

    Creates and removes a folder, as permissions alone aren't conclusive (in /proc, for example).
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
    """Move a damaged file or folder into the folder ``to``. A link is moved, not followed.

    Returns:
        The new path; None if the file is already gone.

    Raises:
        InputError: ``to`` is a link; the files could land among those of another user.
    """
    if to.is_symlink():
        raise InputError(f"{to}: is a link, which is not followed; remove it")
    make_folder(to)
    target = to / f"{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        path.rename(target)
    except FileNotFoundError:
        return None
    return target


def remove_folder(path: Path) -> int:
    """Remove a folder or a file: first rename it to a temporary name, then delete it.

    An interruption leaves a temporary folder, which is never read. If several processes remove the
    same path, one of them does.

    Returns:
        Bytes freed; 0 if the path is already gone.
    """
    return remove_unless(path, lambda: False) or 0


def remove_unless(path: Path, needed: Callable[[], bool]) -> int | None:
    """Remove a folder or a file, but restore it if ``needed`` returns True after the rename.

    A process that first declares its need and then looks for the path either finds it restored or
    doesn't find it; it never uses a path that is about to be deleted.

    Returns:
        Bytes freed; None if the path was restored.
    """
    temporary = _temporary(path)
    try:
        path.rename(temporary)
    except FileNotFoundError:
        return 0
    if needed():
        with contextlib.suppress(OSError):  # another process has created the path again: delete
            temporary.rename(path)
            return None
    sync_folder(path.parent)  # otherwise a power cut could restore the folder without its files
    size = size_of(temporary)
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)
    return size - size_of(temporary)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder, even while files disappear."""
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
    # Not by open(): tests couldn't intercept its buffered writes.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
