"""Listing of a store. It reads nothing large, changes nothing and imports no torch."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dgkd_search.store.leases import StoreUser
from dgkd_search.store.outputs import teacher_of
from dgkd_search.store.store import Store
from dgkd_search.utils.files import TEMPORARY, size_of
from dgkd_search.utils.limits import read_json
from dgkd_search.utils.links import children
from dgkd_search.utils.records import from_plain

# Finished stages, checkpoints of unfinished ones, teacher outputs, prepared datasets, damaged
# entries, files left by killed processes, and files that are foreign or unreadable.
ENTRY_KINDS = ("stage", "checkpoint", "outputs", "data", "damaged", "temporary", "unknown")

_KEY = re.compile("[0-9a-f]{32}")
_PART = re.compile("[0-9a-f]{2}")
_KNOWN_NAMES = {"format.json", "stages", "partial", "outputs", "users", "locks", "data", "damaged"}

# What parsing foreign or damaged JSON may raise.
_ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """One entry of a store.

    Attributes:
        kind: one of ``ENTRY_KINDS``.
        path: its folder or file.
        size: bytes.
        used: time of the last known use, else of creation, in seconds since the Unix epoch.
        key: key of the stage, for outputs of their teacher; empty for other kinds.
        name: name of the model or of the dataset.
        family: family of the model.
        data: fingerprint of the dataset, or of the one that the stage was trained on.
        teachers: number of teachers of the stage.
        accuracy: validation accuracy after the stage's last finished epoch, in percent.
        epochs: number of finished epochs of the stage.
        images: number of training and validation images of the dataset.
        searches: run folders of the searches that used it, earliest first.
    """

    kind: str
    path: Path
    size: int
    used: float
    key: str = ""
    name: str = ""
    family: str = ""
    data: str = ""
    teachers: int = 0
    accuracy: float | None = None
    epochs: int = 0
    images: int = 0
    searches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """The stored outputs of one teacher: number of banks of views, bytes, time of the last use."""

    banks: int = 0
    size: int = 0
    used: float = 0.0


@dataclass(frozen=True)
class Inventory:
    """The contents of a store at one moment.

    Attributes:
        entries: all entries, in the order of ``ENTRY_KINDS``.
        users: processes that use the store, and searches that used it.
    """

    entries: tuple[Entry, ...]
    users: tuple[StoreUser, ...]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def outputs(self) -> dict[str, Outputs]:
        """Return the stored outputs by key of their teacher."""
        result: dict[str, Outputs] = {}
        for entry in self.of("outputs"):
            one = result.get(entry.key, Outputs())
            used = max(one.used, entry.used)
            result[entry.key] = Outputs(one.banks + 1, one.size + entry.size, used)
        return result

    def datasets(self) -> dict[str, str]:
        """Return the names of the prepared datasets by fingerprint."""
        return {entry.data: entry.name for entry in self.of("data")}


def list_store(store: Store) -> Inventory:
    """List everything in the store; unreadable and foreign files have the kind ``unknown``."""
    entries = [entry for kind, path in _locations(store) if (entry := _describe(store, kind, path))]
    users = tuple(store.users())
    entries.sort(key=lambda entry: ENTRY_KINDS.index(entry.kind))  # keeps the paths in order
    return Inventory(tuple(_with_uses(entries, users)), users)


def entry_paths(store: Store, kind: str) -> Iterator[Path]:
    """Return the paths of a kind's entries, intact or damaged; no foreign or temporary files."""
    return (
        path for belongs, path in _locations(store) if belongs == kind and _has_key_name(kind, path)
    )


def _locations(store: Store) -> Iterator[tuple[str, Path]]:
    """Yield every path of the store with the kind that belongs there."""
    for kind, folder in (("stage", store.root / "stages"), ("outputs", store.root / "outputs")):
        for part in children(folder):
            is_part = _PART.fullmatch(part.name) and part.is_dir() and not part.is_symlink()
            yield from ((kind, path) for path in (children(part) if is_part else [part]))
    yield from (("checkpoint", path) for path in children(store.root / "partial"))
    for path in children(store.data):
        if path.suffix != ".lock" and path.name != "damaged":
            yield "data", path
    for folder in (store.root / "damaged", store.data / "damaged"):
        yield from (("damaged", path) for path in children(folder))
    for path in children(store.root / "users"):
        if path.name.startswith(TEMPORARY):
            yield "temporary", path
    yield from (("unknown", path) for path in children(store.root) if path.name not in _KNOWN_NAMES)


def _has_key_name(kind: str, path: Path) -> bool:
    part = path.parent.name if kind in ("stage", "outputs") else ""
    return _KEY.fullmatch(path.name) is not None and path.name.startswith(part)


def _describe(store: Store, kind: str, path: Path) -> Entry | None:
    """Return the entry at ``path``, where a ``kind`` belongs; None if it was removed meanwhile."""
    if path.name.startswith(TEMPORARY):
        kind = "temporary"
    try:
        entry = Entry(kind, path, size_of(path), _changed(kind, path))
        if kind not in _READERS:
            return entry
        if _has_key_name(kind, path) and path.is_dir() and not path.is_symlink():
            return _READERS[kind](store, entry)
    except FileNotFoundError:
        if not path.exists():
            return None
    except (OSError, *_ODD):
        pass
    return Entry("unknown", path, size_of(path), time.time())


def _changed(kind: str, path: Path) -> float:
    status = path.lstat()
    if kind == "damaged":
        return status.st_ctime  # the time when it was moved there
    inside = children(path) if kind == "temporary" else []
    return max([status.st_mtime, *(child.lstat().st_mtime for child in inside)])


# Only the fields that are listed, so that stages of other versions can be listed too.
@dataclass(frozen=True)
class _Architecture:
    family: str
    name: str


@dataclass(frozen=True)
class _Spec:
    architecture: _Architecture
    data: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    val_accuracy: float


@dataclass(frozen=True)
class _StageMeta:
    spec: _Spec
    rows: tuple[_Row, ...]
    finished: float = math.nan


@dataclass(frozen=True)
class _DataMeta:
    dataset: str
    fingerprint: str
    train_count: int
    validation_count: int


def _stage(store: Store, entry: Entry, partial: bool = False) -> Entry:
    path = entry.path
    meta = store.meta(path.name, partial)
    if meta is None:
        raise ValueError(path.name)
    known = from_plain(_StageMeta, meta)
    # The recorded time, as copying a store gives its files new times.
    finished = (path / "checkpoint.json").stat().st_mtime if partial else known.finished
    if not math.isfinite(finished):
        raise ValueError(finished)
    return replace(
        entry,
        key=path.name,
        used=finished,
        name=known.spec.architecture.name,
        family=known.spec.architecture.family,
        data=known.spec.data,
        teachers=len(known.spec.sources),
        accuracy=known.rows[-1].val_accuracy,
        epochs=len(known.rows),
    )


def _checkpoint(store: Store, entry: Entry) -> Entry:
    if not (entry.path / "checkpoint.json").exists():
        return replace(entry, key=entry.path.name)  # stopped before the first checkpoint
    return _stage(store, entry, partial=True)


def _outputs(store: Store, entry: Entry) -> Entry:
    teacher = teacher_of(entry.path)
    if not _KEY.fullmatch(teacher):
        raise ValueError(teacher)
    return replace(entry, key=teacher)


def _data(store: Store, entry: Entry) -> Entry:
    known = from_plain(_DataMeta, read_json(entry.path / "info.json"))
    images = known.train_count + known.validation_count
    return replace(entry, name=known.dataset, data=known.fingerprint, images=images)


_READERS: dict[str, Callable[[Store, Entry], Entry]] = {
    "stage": _stage,
    "checkpoint": _checkpoint,
    "outputs": _outputs,
    "data": _data,
}


def _with_uses(entries: Iterable[Entry], users: Iterable[StoreUser]) -> Iterator[Entry]:
    """Add to each entry its searches and its last use.

    Using outputs also uses their teacher's stage; using a stage also uses its dataset.
    """
    entries = list(entries)
    searches: dict[str, list[StoreUser]] = defaultdict(list)
    for user in users:
        for key in user.keys if user.kind == "search" else ():
            searches[key].append(user)
    last: dict[str, float] = defaultdict(float)  # last use by stage key or data fingerprint

    def used(entry: Entry) -> float:
        if entry.kind in ("stage", "checkpoint"):
            return max(entry.used, last[entry.key], *(user.since for user in searches[entry.key]))
        return max(entry.used, last[entry.data]) if entry.kind == "data" else entry.used

    for entry in entries:
        if entry.kind == "outputs":
            last[entry.key] = max(last[entry.key], entry.used)
    for entry in entries:
        if entry.kind in ("stage", "checkpoint"):
            last[entry.data] = max(last[entry.data], used(entry))
    for entry in entries:
        names = tuple(user.name for user in searches[entry.key])
        yield replace(entry, used=used(entry), searches=names)
