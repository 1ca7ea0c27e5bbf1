"""Records of who uses which stages of a store, so that stages in use are not removed. No torch.

``users/<id>.json`` names the user and its stages. ``users/<id>.lock`` is held while that process
lives; the system releases it when the process dies. A trial's record is removed when the trial
ends. A search's record stays, to tell which searches used an entry.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from dgkd_search.utils.files import TEMPORARY, make_folder, remove_file, write_bytes
from dgkd_search.utils.hashing import UNREADABLE, to_checksummed_json
from dgkd_search.utils.limits import read_checksummed_json
from dgkd_search.utils.links import check_no_link, children
from dgkd_search.utils.records import from_plain

LEASE_KINDS = ("trial", "search")


@dataclass(frozen=True)
class StoreUser:
    """A process that uses the store, or a search that did.

    Attributes:
        kind: one of ``LEASE_KINDS``.
        name: run folder of a search; host and process of a trial.
        since: start time in seconds since the Unix epoch.
        keys: keys of the stages that it needs or has used.
        live: whether it is still running.
    """

    kind: str
    name: str
    since: float
    keys: frozenset[str]
    live: bool


class Lease:
    """Protects stages and their outputs from removal while it is held.

    Args:
        folder: folder of all records, created if missing.
        kind: one of ``LEASE_KINDS``; the record of a search stays after the release.
        name: name of the holder; None for this host and process.
    """

    def __init__(self, folder: Path, kind: str, name: str | None = None) -> None:
        make_folder(folder)
        path = folder / uuid.uuid4().hex
        self._record, self._kind = path.with_suffix(".json"), kind
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._since = time.time()
        self._keys: set[str] = set()
        self._lock = FileLock(path.with_suffix(".lock"), timeout=0, thread_local=False)
        self._lock.acquire()  # before the record is written: one without a lock counts as dead

    def add(self, keys: Iterable[str]) -> None:
        """Protect these stages too."""
        keys = set(keys) - self._keys
        if keys or not self._record.exists():
            self._keys |= keys
            self._write()

    def _write(self) -> None:
        value = {
            "kind": self._kind,
            "name": self._name,
            "since": self._since,
            "keys": sorted(self._keys),
        }
        write_bytes(self._record, to_checksummed_json(value))

    def release(self) -> None:
        if self._kind == "trial" or not self._keys:
            remove_file(self._record)
        self._lock.release()
        remove_file(Path(self._lock.lock_file))

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def store_users(folder: Path) -> list[StoreUser]:
    """Return the processes that use the store and the searches that used it, earliest first.

    The records of dead trials are removed.
    """
    result = []
    for record, user in _records(folder):
        if user.live or user.kind == "search":
            result.append(user)
        else:
            remove_file(record)
    return sorted(result, key=lambda user: (user.since, user.name))


def forget_searches(folder: Path, known: Collection[str]) -> int:
    """Remove the records of ended searches that used none of the ``known`` keys.

    Returns:
        The number of removed records.
    """
    ended = [
        record
        for record, user in _records(folder)
        if user.kind == "search" and not user.live and user.keys.isdisjoint(known)
    ]
    for record in ended:
        remove_file(record)
    return len(ended)


def unreadable_records(folder: Path) -> list[Path]:
    """Return the unreadable records, except those of live users, who write theirs again."""
    paths = [path for path, user in _read(folder) if user is None]
    return [path for path in paths if path.exists() and not _is_live(path.with_suffix(".lock"))]


def _records(folder: Path) -> Iterator[tuple[Path, StoreUser]]:
    for record, user in _read(folder):
        if user is not None:
            yield record, user


def _read(folder: Path) -> Iterator[tuple[Path, StoreUser | None]]:
    for record in children(folder):
        if record.suffix != ".json" or record.name.startswith(TEMPORARY):
            continue
        live = _is_live(record.with_suffix(".lock"))
        user = None
        with contextlib.suppress(OSError, *UNREADABLE):
            check_no_link(record)
            value = read_checksummed_json(record)
            known = from_plain(StoreUser, {**value, "live": live})
            if known.kind in LEASE_KINDS and math.isfinite(known.since):
                user = known
        yield record, user


def _is_live(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except OSError:  # held (a TimeoutError), or another account's, which may hold it
        return True
    lock.release()
    remove_file(path)
    return False
