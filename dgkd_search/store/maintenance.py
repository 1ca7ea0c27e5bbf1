"""Verifying a store, and freeing its space, while others may be using it. Loads no torch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dgkd_search.data.cache import verify_prepared
from dgkd_search.errors import InputError, one_line
from dgkd_search.store.inventory import Entry, Inventory, entry_paths, list_store
from dgkd_search.store.leases import forget_searches
from dgkd_search.store.store import Store
from dgkd_search.utils.files import quarantine, remove_unless

# What can be freed, and which kinds of entries that is; ``unused`` is chosen one by one.
FREEABLE = {
    "outputs": ("outputs",),
    "checkpoints": ("checkpoint",),
    "stages": ("stage",),
    "data": ("data",),
    "damaged": ("damaged",),
    "unused": ("stage", "checkpoint", "outputs", "data", "damaged"),
    "all": ("stage", "checkpoint", "outputs", "data", "damaged"),
}
# Temporaries are this old, in seconds, before their writer counts as dead.
_HOUR = 3600.0


@dataclass(frozen=True)
class Freed:
    """What was freed, or would be.

    Attributes:
        entries: what is gone; temporaries of killed processes among them.
        bytes: that they took.
        kept_in_use: what stayed because somebody uses it, or may.
    """

    entries: tuple[Entry, ...]
    bytes: int
    kept_in_use: tuple[Entry, ...]


def verify_store(store: Store) -> list[str]:
    """Read every stage, checkpoint, array of outputs and dataset and compare it with its checksum.

    Records of searches have none, but must be readable. What is damaged is set aside. What a
    process is writing at the moment is left to that process.

    Returns:
        A line for each damaged thing.
    """
    noted = len(store.notes)
    for path in entry_paths(store, "stage"):
        store.get(path.name)
    for path in entry_paths(store, "checkpoint"):
        # Without its lock a checkpoint may be replaced between a look at its name and one at it.
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
    """Remove what can be made again; temporaries of killed processes go in any case.

    Nothing goes that a running search or trial uses: no stage of its record and no outputs of
    these, no checkpoint that is being trained, no dataset while anybody runs, and nothing that
    was made or used since the earliest of them began, which may be theirs. Records of ended
    searches go once nothing that they used is left.

    Args:
        what: one of ``FREEABLE``: ``stages`` go with their outputs; ``unused`` is what no recorded
            search used, outputs whose stage is gone, data that no used stage was trained on,
            and what was set aside.
        older_than: seconds that must have passed since its last use.
        dry_run: remove nothing, and say what would go.

    Raises:
        InputError: an unknown ``what``.
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
    chosen.sort(key=lambda entry: entry.kind == "stage")  # last: a stop leaves no stray outputs
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
    """Bytes freed; None where somebody has just come to use it."""
    return remove_unless(entry.path, lambda: guard.protects(entry))


class _InUse:
    """What running searches and trials use, looked at again whenever a record has changed."""

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
            return True  # records don't say which
        return entry.key in self._keys or entry.used >= self._since

    def _look(self) -> None:
        seen = set()
        for record in (self._store.root / "users").glob("*.json"):
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
    learnt = {e.data for e in inventory.of("stage", "checkpoint") if e.key in recorded}

    def unused(entry: Entry) -> bool:
        if entry.kind == "data":
            return entry.data not in learnt
        if entry.kind == "outputs" and entry.key not in stages:
            return True  # of a stage that is gone
        if entry.kind == "checkpoint" and entry.key in stages:
            return True  # of a stage that is finished
        return entry.key not in recorded

    return unused


def _claimed(store: Store, entry: Entry) -> AbstractContextManager[bool]:
    """Keeps others from working on an entry; False where somebody does."""
    if entry.kind == "checkpoint":
        return _held(store.lock(entry.key))
    if entry.kind == "data":
        return _held(_data_lock(entry.path))
    return contextlib.nullcontext(True)


def _data_lock(path: Path) -> FileLock:
    """The lock that whoever prepares the dataset at ``path`` holds."""
    return FileLock(path.with_name(f"{path.name}.lock"), timeout=0, thread_local=False)


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
            yield f"{path.name}: damaged ({why}), set aside as {moved}; made again when needed"
