"""Verifying a store and freeing its space while other processes may use it. No torch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dgkd_search.data.prepared import verify_prepared
from dgkd_search.errors import InputError, one_line
from dgkd_search.store.inventory import Entry, Inventory, entry_paths, list_store
from dgkd_search.store.leases import forget_searches
from dgkd_search.store.store import Store
from dgkd_search.utils.files import quarantine, remove_unless
from dgkd_search.utils.links import children, lock_path

# Choices of ``--free`` and the kinds of entries that they may remove; see ``free_space``.
FREEABLE = {
    "outputs": ("outputs",),
    "checkpoints": ("checkpoint",),
    "stages": ("stage",),
    "data": ("data",),
    "damaged": ("damaged",),
    "unused": ("stage", "checkpoint", "outputs", "data", "damaged"),
    "all": ("stage", "checkpoint", "outputs", "data", "damaged"),
}
# Age in seconds from which the writer of a temporary file counts as dead.
_HOUR = 3600.0


@dataclass(frozen=True)
class Freed:
    """The result of ``free_space``.

    Attributes:
        entries: the removed entries, temporary files of killed processes included.
        bytes: bytes that they occupied.
        kept_in_use: chosen entries that stayed because they are, or may be, in use.
    """

    entries: tuple[Entry, ...]
    bytes: int
    kept_in_use: tuple[Entry, ...]


def verify_store(store: Store) -> list[str]:
    """Compare every stage, checkpoint, output array and dataset with its checksum.

    Records of users must be readable. Damaged entries are moved to ``damaged/``. Checkpoints and
    datasets that a process is writing are skipped.

    Returns:
        A line for each damaged entry.
    """
    noted = len(store.notes)
    for path in entry_paths(store, "stage"):
        store.get(path.name)
    for path in entry_paths(store, "checkpoint"):
        # Without its lock, a checkpoint may be replaced after its name was read.
        with _held(store.lock(path.name)) as held:
            if held:
                store.get_partial(path.name)
    for path in entry_paths(store, "outputs"):
        store.outputs.verify(path)
    store.verify_users()
    problems = store.notes[noted:]
    for path in entry_paths(store, "data"):
        with _held(_data_lock(path)) as held:
            if held:
                problems.extend(_verify_data(path))
    return problems


def free_space(
    store: Store, what: str, older_than: float | None = None, *, dry_run: bool = False
) -> Freed:
    """Remove entries, all of which can be computed again, and temporary files of killed processes.

    Entries that may be in use are kept: stages in the record of a running search or trial and
    their outputs, checkpoints in training, all datasets while anything runs, and entries created
    or used since the earliest running process started. Records of ended searches are removed once
    nothing that they used is left.

    Args:
        store: the store.
        what: one of ``FREEABLE``. ``stages`` removes the outputs of the stages too. ``unused``
            removes entries that no recorded search used, outputs without a stage, datasets that no
            used stage was trained on, and damaged entries.
        older_than: minimum age of the last use in seconds; None for any age.
        dry_run: remove nothing, and return what would be removed.

    Raises:
        InputError: ``what`` is unknown.
    """
    if what not in FREEABLE:
        raise InputError(f"free {what}: unknown; choose from {', '.join(FREEABLE)}")
    inventory = list_store(store)
    now = time.time()
    old = [e for e in inventory.entries if older_than is None or now - e.used >= older_than]
    chosen = [entry for entry in old if entry.kind in FREEABLE[what]]
    if what == "unused":
        unused = _unused(inventory)
        chosen = [entry for entry in chosen if unused(entry)]
    if what == "stages":
        keys = {entry.key for entry in chosen}
        chosen += [entry for entry in inventory.of("outputs") if entry.key in keys]
    chosen += [e for e in old if e.kind == "temporary" and now - e.used >= _HOUR]
    # Stages last, so that an interruption leaves no outputs without a stage.
    chosen.sort(key=lambda entry: entry.kind == "stage")
    guard = _InUse(store)
    gone: list[Entry] = []
    kept: list[Entry] = []
    size = 0
    for entry in chosen:
        with _claimed(store, entry) as claimed:
            if not claimed or guard.protects(entry):
                kept.append(entry)
                continue
            freed = entry.size if dry_run else _remove(guard, entry)
            if freed is None:
                kept.append(entry)
            else:
                size += freed
                gone.append(entry)
    if not dry_run:
        forget_searches(store.root / "users", {entry.key for entry in list_store(store).entries})
    return Freed(tuple(gone), size, tuple(e for e in kept if e.kind != "temporary"))


def _remove(guard: _InUse, entry: Entry) -> int | None:
    """Remove an entry; return the bytes freed, or None if a process has just begun to use it."""
    return remove_unless(entry.path, lambda: guard.protects(entry))


class _InUse:
    """What running searches and trials use; read again whenever a record changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: set[tuple[str, int, int, int]] | None = None
        self._keys: set[str] = set()
        self._since: float | None = None

    def protects(self, entry: Entry) -> bool:
        self._look()
        if self._since is None or entry.kind == "damaged":
            return False
        if entry.kind == "data":
            return True  # records don't name datasets
        return entry.key in self._keys or entry.used >= self._since

    def _look(self) -> None:
        seen = set()
        for record in children(self._store.root / "users"):
            with contextlib.suppress(FileNotFoundError):
                status = record.stat()
                seen.add((record.name, status.st_ino, status.st_mtime_ns, status.st_size))
        if seen == self._seen:
            return
        self._seen = seen
        live = [user for user in self._store.users() if user.live]
        self._keys = {key for user in live for key in user.keys}
        self._since = min((user.since for user in live), default=None)


def _unused(inventory: Inventory) -> Callable[[Entry], bool]:
    recorded = frozenset[str]().union(*(user.keys for user in inventory.users))
    stages = {entry.key for entry in inventory.of("stage")}
    used_data = {e.data for e in inventory.of("stage", "checkpoint") if e.key in recorded}

    def unused(entry: Entry) -> bool:
        if entry.kind == "data":
            return entry.data not in used_data
        if entry.kind == "outputs" and entry.key not in stages:
            return True  # outputs of a removed stage
        if entry.kind == "checkpoint" and entry.key in stages:
            return True  # checkpoint of a finished stage
        return entry.key not in recorded

    return unused


def _claimed(store: Store, entry: Entry) -> AbstractContextManager[bool]:
    """Lock an entry against other processes; False if one is working on it."""
    if entry.kind == "checkpoint":
        return _held(store.lock(entry.key))
    if entry.kind == "data":
        return _held(_data_lock(entry.path))
    return contextlib.nullcontext(True)


def _data_lock(path: Path) -> FileLock:
    """Return the lock that a process holds while it prepares the dataset at ``path``."""
    return FileLock(lock_path(path.parent, path.name), timeout=0, thread_local=False)


@contextlib.contextmanager
def _held(lock: FileLock) -> Iterator[bool]:
    try:
        lock.acquire()
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _verify_data(path: Path) -> Iterator[str]:
    try:
        verify_prepared(path)
    except (InputError, RecursionError) as error:
        cause = error.__cause__ or error
        why = one_line(cause)
        moved = quarantine(path, path.parent / "damaged")
        if moved is not None:
            yield f"{path.name}: damaged ({why}); moved to {moved}, recreated when needed"
