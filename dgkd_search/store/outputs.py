"""What frozen models said of every training image: arrays that all learners of a machine map.

``outputs/<k>/<key>/`` holds ``logits.npy``, float16 [N, C], and ``outputs.json`` with its checksum.
Arrays can always be computed again, so those that nobody needs make room for new ones. No torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
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
from dgkd_search.utils.files import TEMPORARY, remove_folder, touch, write_folder
from dgkd_search.utils.hashing import digest, from_checksummed_json, sha256, to_checksummed_json
from dgkd_search.utils.npy import to_npy_bytes

Array = NDArray[np.float16]

_ARRAY, _DESCRIPTION = "logits.npy", "outputs.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Spec(Protocol):
    """What determines an array, such as ``training.spec.OutputsSpec``."""

    @property
    def key(self) -> str:
        """32 hex digits: ``digest(["outputs", to_dict()])``."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""


@dataclass(frozen=True)
class OutputsFile:
    """One array as it lies in the store.

    Attributes:
        teacher: key of the stage whose outputs they are; empty where that can't be read.
        size: bytes on the disk.
        used: when it was last asked for, in seconds since the epoch.
    """

    path: Path
    teacher: str
    size: int
    used: float


class OutputStore:
    """Outputs by what determines them.

    Args:
        root: folder of the arrays.
        locks: folder of the locks.
        limit: bytes that all arrays together may take; None for no limit.
        needed: keys of the stages whose outputs running trials need now: theirs stay.
        damaged: told of a folder that isn't what was written, and why.
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
        """The array, verified and mapped; None where there is none or it was damaged.

        It stays readable when it is removed from the store meanwhile.
        """
        folder = self._folder(spec)
        array = self._sound(folder)
        if array is not None:
            touch(folder)
        return array

    def verify(self, folder: Path) -> bool:
        """Read an array of ``files`` whatever its spec; it counts as little used as before.

        Returns:
            False if it was damaged, or is gone.
        """
        return self._sound(folder) is not None

    def put(self, spec: Spec, logits: Array) -> bool:
        """Keep an array, float16 [N, C], if there is room for it.

        Returns:
            False if limit or disk leave no room beside what running trials need; nothing is
            kept then, and the caller goes on with the array that it has.
        """
        data = to_npy_bytes(np.asarray(logits, np.float16))
        description = {
            "spec": spec.to_dict(),
            "sha256": sha256(data),
            "computed": int(time.time()),  # whole: arrays of one shape take the same room
        }
        files = {_ARRAY: data, _DESCRIPTION: to_checksummed_json(description)}
        size = sum(map(len, files.values()))
        if self.limit is None:
            return self._write(spec, files, size)
        with FileLock(self._locks / "outputs.lock"):  # two writers would take the same room
            return self._make_room(size, self.limit) and self._write(spec, files, size)

    def lock(self, spec: Spec) -> FileLock:
        """The lock that whoever computes the array holds."""
        return FileLock(self._locks / f"{spec.key}.lock", timeout=0, thread_local=False)

    def files(self) -> list[OutputsFile]:
        """Every array of the store, the one longest unused first."""
        entries = []
        for folder in self.root.glob("*/*"):
            if folder.name.startswith(TEMPORARY):
                continue  # somebody may be writing it
            with suppress(OSError):  # removed meanwhile
                size = sum(file.stat().st_size for file in folder.iterdir())
                used = folder.stat().st_mtime
                entries.append(OutputsFile(folder, teacher_of(folder), size, used))
        return sorted(entries, key=lambda file: (file.used, file.path))

    def _write(self, spec: Spec, files: Mapping[str, bytes], size: int) -> bool:
        """Write an array; where the disk is full, idle ones go for it."""
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
            return False  # nothing is removed in vain
        for file in idle:
            room += remove_folder(file.path)  # at once: a reader finds all of it, or nothing
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
                return _read(folder)  # its writer's rename may have come since
        except FileNotFoundError:
            self._damaged(folder, "a file is missing")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError) as error:
            self._damaged(folder, one_line(error))
        except (NotADirectoryError, IsADirectoryError) as error:
            self._damaged(folder, str(error))
        return None

    def _folder(self, spec: Spec) -> Path:
        key = spec.key
        return self.root / key[:2] / key


def _read(folder: Path) -> Array:
    description = from_checksummed_json((folder / _DESCRIPTION).read_bytes(), _DESCRIPTION)
    if digest(["outputs", description["spec"]]) != folder.name:  # as ``OutputsSpec.key``
        raise ValueError(f"{_DESCRIPTION} describes other outputs")
    path = folder / _ARRAY
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != description["sha256"]:
            raise ValueError(f"{_ARRAY} fails its checksum")
    # Copy on write: torch.from_numpy warns of read-only arrays, and nobody writes.
    array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def teacher_of(folder: Path) -> str:
    """Key of the stage whose outputs lie there; empty where that can't be read."""
    try:
        return str(json.loads((folder / _DESCRIPTION).read_bytes())["spec"]["source"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
