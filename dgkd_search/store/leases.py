"""Who uses a store, and what of it: so that nothing that is needed is removed. No torch.

``users/<id>.json`` says who and what; ``users/<id>.lock`` is held as long as that process lives,
and released by the system when it dies. A trial's record goes with it, a search's stays: it tells
which studies used what the store holds.
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
from dgkd_search.utils.hashing import UNREADABLE, from_checksummed_json, to_checksummed_json
from dgkd_search.utils.records import from_plain

LEASE_KINDS = ("trial", "search")


@dataclass(frozen=True)
class StoreUser:
    """A process that uses the store, or a search that did.

    Attributes:
        kind: one of ``LEASE_KINDS``.
        name: a search's run folder, a trial's place (host and process).
        since: when it began, in seconds since the epoch.
        keys: of the stages that it needs or has used.
        live: whether it still runs.
    """

    kind: str
    name: str
    since: float
    keys: frozenset[str]
    live: bool


class Lease:
    """Keeps stages and their outputs from being removed as long as it is held.

    Args:
        folder: of all users; made where it is missing.
        kind: one of ``LEASE_KINDS``; the record of a search stays when it is released.
        name: what to call its holder; this host and process if None.
    """

    def __init__(self, folder: Path, kind: str, name: str | None = None) -> None:
        make_folder(folder)
        path = folder / uuid.uuid4().hex
        self._record, self._kind = path.with_suffix(".json"), kind
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._since = time.time()
        self._keys: set[str] = set()
        self._lock = FileLock(path.with_suffix(".lock"), timeout=0, thread_local=False)
        self._lock.acquire()  # before there is a record: a record without a holder is a dead one's

    def add(self, keys: Iterable[str]) -> None:
        """From now on these are needed too."""
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
    """Everybody who uses the store, and the searches that did, the earliest first.

    What dead trials left behind is removed.
    """
    result = []
    for record, user in _records(folder):
        if user.live or user.kind == "search":
            result.append(user)
        else:
            remove_file(record)
    return sorted(result, key=lambda user: (user.since, user.name))


def forget_searches(folder: Path, known: Collection[str]) -> int:
    """Remove the records of searches that have ended and used none of the ``known`` keys.

    Returns:
        How many these were.
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
    """Files where records lie that are none; of a live user another one will be written."""
    paths = [path for path, user in _read(folder) if user is None]
    return [path for path in paths if path.exists() and not _is_live(path.with_suffix(".lock"))]


def _records(folder: Path) -> Iterator[tuple[Path, StoreUser]]:
    for record, user in _read(folder):
        if user is not None:
            yield record, user


def _read(folder: Path) -> Iterator[tuple[Path, StoreUser | None]]:
    for record in folder.glob("*.json"):
        if record.name.startswith(TEMPORARY):
            continue
        live = _is_live(record.with_suffix(".lock"))
        user = None
        with contextlib.suppress(OSError, *UNREADABLE):
            value = from_checksummed_json(record.read_bytes(), record.name)
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
    except OSError:  # held (a TimeoutError), or another account's: it may be
        return True
    lock.release()
    remove_file(path)
    return False
