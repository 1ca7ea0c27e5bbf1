"""Stored teacher outputs: the logits of each bank of views, as arrays that learners map.

``outputs/<k>/<key>/`` contains ``logits.npy``, float16 [N, C], and ``outputs.json`` with its
checksum. Arrays can be computed again, so idle ones are removed to make room for new ones. No
torch.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from dgkd_search.errors import one_line
from dgkd_search.utils.files import MISPLACED, TEMPORARY, remove_folder, touch, write_folder
from dgkd_search.utils.hashing import UNREADABLE, digest, sha256, to_checksummed_json
from dgkd_search.utils.limits import hash_file, read_checksummed_json, read_json
from dgkd_search.utils.links import check_no_link, children, entry_path, lock_path
from dgkd_search.utils.npy import map_array, to_npy_bytes

Array = NDArray[np.float16]

_ARRAY, _DESCRIPTION = "logits.npy", "outputs.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Spec(Protocol):
    """What determines an array; see ``training.spec.OutputsSpec``."""

    @property
    def key(self) -> str:
        """32 hex digits: ``digest(["outputs", to_dict()])``."""

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""


@dataclass(frozen=True)
class OutputsFile:
    """One stored array.

    Attributes:
        path: its folder.
        teacher: key of the teacher's stage; empty if it cannot be read.
        size: bytes on disk.
        used: time of the last ``get``, in seconds since the Unix epoch.
    """

    path: Path
    teacher: str
    size: int
    used: float


class OutputStore:
    """Teacher outputs by their specification.

    Args:
        root: folder of the arrays.
        locks: folder of the locks.
        limit: bytes that all arrays may occupy; None for no limit.
        needed: returns the keys of the teachers that running trials need; their outputs stay.
        damaged: called with a damaged folder and the reason.
    """

    def __init__(
        self,
        root: Path,
        locks: Path,
        limit: int | None,
        needed: Callable[[], Collection[str]],
        damaged: Callable[[Path, str], None],
    ) -> None:
        self.root = root
        self.limit = limit
        self._locks = locks
        self._needed = needed
        self._damaged = damaged

    def get(self, spec: Spec) -> Array | None:
        """Return the array, verified and mapped; None if it is missing or damaged.

        It stays readable if it is removed from the store meanwhile.
        """
        folder = self._folder(spec)
        array = self._sound(folder)
        if array is not None:
            touch(folder)
        return array

    def verify(self, folder: Path) -> bool:
        """Verify the array in one folder of ``files``; this does not count as a use.

        Returns:
            False if the array is damaged or missing.
        """
        return self._sound(folder) is not None

    def put(self, spec: Spec, logits: Array) -> bool:
        """Store an array, float16 [N, C], if there is room for it.

        Returns:
            False if, beside the arrays that running trials need, the limit or the disk leaves no
            room. Nothing is stored then.
        """
        data = to_npy_bytes(np.asarray(logits, np.float16))
        description = {
            "spec": spec.to_dict(),
            "sha256": sha256(data),
            "computed": int(time.time()),  # an integer, so that equal shapes have equal sizes
        }
        files = {_ARRAY: data, _DESCRIPTION: to_checksummed_json(description)}
        size = sum(map(len, files.values()))
        if self.limit is None:
            return self._write(spec, files, size)
        with FileLock(
            lock_path(self._locks, "outputs")
        ):  # else two writers might use the same room
            return self._make_room(size, self.limit) and self._write(spec, files, size)

    def lock(self, spec: Spec) -> FileLock:
        """Return the lock that a process holds while it computes the array."""
        return FileLock(lock_path(self._locks, spec.key), timeout=0, thread_local=False)

    def files(self) -> list[OutputsFile]:
        """Return all arrays of the store, least recently used first."""
        entries = []
        for folder in (path for part in children(self.root) for path in children(part)):
            if folder.name.startswith(TEMPORARY) or folder.is_symlink():
                continue  # a process may be writing it; a link is set aside when it is read
            with suppress(OSError):  # removed meanwhile
                size = sum(file.lstat().st_size for file in folder.iterdir())
                used = folder.stat().st_mtime
                entries.append(OutputsFile(folder, teacher_of(folder), size, used))
        return sorted(entries, key=lambda file: (file.used, file.path))

    def _write(self, spec: Spec, files: Mapping[str, bytes], size: int) -> bool:
        """Write an array; if the disk is full, remove idle ones for it."""
        for last in (False, True):
            try:
                write_folder(self._folder(spec), files)
                return True
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            held = sum(file.size for file in self.files())
            if last or not self._make_room(size, held):
                break
        return False

    def _make_room(self, wanted: int, limit: int) -> bool:
        files = self.files()
        room = limit - sum(file.size for file in files)
        if room >= wanted:
            return True
        needed = self._needed()
        idle = [file for file in files if file.teacher not in needed]
        if room + sum(file.size for file in idle) < wanted:
            return False  # remove nothing if it would not suffice
        for file in idle:
            room += remove_folder(file.path)  # atomic for readers
            if room >= wanted:
                break
        return room >= wanted

    def _sound(self, folder: Path) -> Array | None:
        try:
            try:
                return _read(folder)
            except FileNotFoundError:
                if not folder.exists():
                    return None
                return _read(folder)  # its writer may just have renamed it into place
        except FileNotFoundError:
            self._damaged(folder, "a file is missing")
        except (*UNREADABLE, EOFError, *MISPLACED) as error:
            self._damaged(folder, one_line(error))
        return None

    def _folder(self, spec: Spec) -> Path:
        return entry_path(self.root, spec.key)


def _read(folder: Path) -> Array:
    check_no_link(folder, folder / _DESCRIPTION, folder / _ARRAY)
    description = read_checksummed_json(folder / _DESCRIPTION)
    if digest(["outputs", description["spec"]]) != folder.name:  # as ``OutputsSpec.key``
        raise ValueError(f"{_DESCRIPTION} describes other outputs")
    # Mapped first: a file longer than its header promises isn't read.
    array = map_array(folder / _ARRAY, np.dtype(np.float16), (None, None))
    if hash_file(folder / _ARRAY) != description["sha256"]:
        raise ValueError(f"{_ARRAY} fails its checksum")
    return array


def teacher_of(folder: Path) -> str:
    """Return the key of the teacher whose outputs a folder contains; empty if unreadable."""
    try:
        return str(read_json(folder / _DESCRIPTION)["spec"]["source"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
