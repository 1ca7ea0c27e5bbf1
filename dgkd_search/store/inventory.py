"""What a store holds, seen from outside: nothing large is read, nothing changes. No torch."""

from __future__ import annotations

import json
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
from dgkd_search.utils.records import from_plain

# Finished and unfinished stages, what models said, prepared datasets, what was set aside, what
# killed processes left, and what isn't the store's or can't be read.
ENTRY_KINDS = ("stage", "checkpoint", "outputs", "data", "damaged", "temporary", "unknown")

_KEY = re.compile("[0-9a-f]{32}")
_PART = re.compile("[0-9a-f]{2}")
_KNOWN_NAMES = {"format.json", "stages", "partial", "outputs", "users", "locks", "data", "damaged"}

# What foreign or damaged JSON raises on its way to the values that were expected.
_ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """One thing in a store.

    Attributes:
        kind: one of ``ENTRY_KINDS``.
        path: its folder or file.
        size: bytes.
        used: when it was last used, as far as that is known, else when it was made; in seconds
            since the epoch.
        key: of the stage; of outputs, the teacher's; empty for everything else.
        name, family: of the model; ``name`` of a dataset is that dataset's.
        data: fingerprint of the dataset, or of the one that the stage was trained on.
        teachers: how many models taught the stage.
        accuracy: of the stage's last epoch on the validation images, in percent.
        epochs: of the stage that are done.
        images: of the dataset, for training and validation.
        searches: run folders of the searches that used it, the earliest first.
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
    """The stored outputs of one model: how many banks of views, their bytes, their last use."""

    banks: int = 0
    size: int = 0
    used: float = 0.0


@dataclass(frozen=True)
class Inventory:
    """What a store held when it was looked at.

    Attributes:
        entries: everything, in the order of ``ENTRY_KINDS``.
        users: who uses it, and which searches did.
    """

    entries: tuple[Entry, ...]
    users: tuple[StoreUser, ...]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def outputs(self) -> dict[str, Outputs]:
        """By key of the model whose outputs they are."""
        result: dict[str, Outputs] = {}
        for entry in self.of("outputs"):
            one = result.get(entry.key, Outputs())
            used = max(one.used, entry.used)
            result[entry.key] = Outputs(one.banks + 1, one.size + entry.size, used)
        return result

    def datasets(self) -> dict[str, str]:
        """Names of the prepared datasets, by fingerprint."""
        return {entry.data: entry.name for entry in self.of("data")}


def list_store(store: Store) -> Inventory:
    """Everything in the store; what can't be read or isn't the store's is ``unknown``."""
    entries = [entry for kind, path in _locations(store) if (entry := _describe(store, kind, path))]
    users = tuple(store.users())
    entries.sort(key=lambda entry: ENTRY_KINDS.index(entry.kind))  # keeps the paths in order
    return Inventory(tuple(_with_uses(entries, users)), users)


def entry_paths(store: Store, kind: str) -> Iterator[Path]:
    """Where whole and damaged entries of a kind lie: all but foreign files and temporaries."""
    return (
        path for belongs, path in _locations(store) if belongs == kind and _has_key_name(kind, path)
    )


def _locations(store: Store) -> Iterator[tuple[str, Path]]:
    """Everything there is, with the kind that belongs there."""
    for kind, folder in (("stage", store.root / "stages"), ("outputs", store.root / "outputs")):
        for part in _children(folder):
            is_part = _PART.fullmatch(part.name) and part.is_dir()
            yield from ((kind, path) for path in (_children(part) if is_part else [part]))
    yield from (("checkpoint", path) for path in _children(store.root / "partial"))
    for path in _children(store.data):
        if path.suffix != ".lock" and path.name != "damaged":
            yield "data", path
    for folder in (store.root / "damaged", store.data / "damaged"):
        yield from (("damaged", path) for path in _children(folder))
    for path in _children(store.root / "users"):
        if path.name.startswith(TEMPORARY):
            yield "temporary", path
    yield from (
        ("unknown", path) for path in _children(store.root) if path.name not in _KNOWN_NAMES
    )


def _has_key_name(kind: str, path: Path) -> bool:
    part = path.parent.name if kind in ("stage", "outputs") else ""
    return _KEY.fullmatch(path.name) is not None and path.name.startswith(part)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # gone, or no folder
        return []


def _describe(store: Store, kind: str, path: Path) -> Entry | None:
    """What lies where a ``kind`` belongs, as far as that can be told; None if it is gone."""
    if path.name.startswith(TEMPORARY):
        kind = "temporary"
    try:
        entry = Entry(kind, path, size_of(path), _changed(kind, path))
        if kind not in _READERS:
            return entry
        if _has_key_name(kind, path) and path.is_dir():
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
        return status.st_ctime  # when it was moved there
    inside = _children(path) if kind == "temporary" else []
    return max([status.st_mtime, *(child.lstat().st_mtime for child in inside)])


# Of what lies there, what is listed: stages of other versions can be looked at, too.
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
    # A moved store's files are new, its stages aren't.
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
        return replace(entry, key=entry.path.name)  # a stop came before the first one was whole
    return _stage(store, entry, partial=True)


def _outputs(store: Store, entry: Entry) -> Entry:
    teacher = teacher_of(entry.path)
    if not _KEY.fullmatch(teacher):
        raise ValueError(teacher)
    return replace(entry, key=teacher)


def _data(store: Store, entry: Entry) -> Entry:
    known = from_plain(_DataMeta, json.loads((entry.path / "info.json").read_bytes()))
    images = known.train_count + known.validation_count
    return replace(entry, name=known.dataset, data=known.fingerprint, images=images)


_READERS: dict[str, Callable[[Store, Entry], Entry]] = {
    "stage": _stage,
    "checkpoint": _checkpoint,
    "outputs": _outputs,
    "data": _data,
}


def _with_uses(entries: Iterable[Entry], users: Iterable[StoreUser]) -> Iterator[Entry]:
    """Who used each entry, and when: a stage also with its outputs, data also with a stage."""
    entries = list(entries)
    searches: dict[str, list[StoreUser]] = defaultdict(list)
    for user in users:
        for key in user.keys if user.kind == "search" else ():
            searches[key].append(user)
    last: dict[str, float] = defaultdict(float)  # by key of a model, and by fingerprint of data

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
