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
from typing import Any

from dgkd_search.files import TEMPORARY, size_of
from dgkd_search.leases import User
from dgkd_search.outputs import source_of
from dgkd_search.store import Store

# Finished and unfinished stages, what models said, prepared data sets, what was set aside, what
# killed processes left, and what isn't the store's or can't be read.
KINDS = ("stage", "checkpoint", "outputs", "data", "damaged", "temporary", "unknown")

_KEY = re.compile("[0-9a-f]{32}")
_PART = re.compile("[0-9a-f]{2}")
_PLACES = {"format.json", "stages", "partial", "outputs", "users", "locks", "data", "damaged"}

# What foreign or damaged JSON raises on its way to the values that were expected.
_ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """One thing in a store.

    Attributes:
        kind: one of ``KINDS``.
        path: its folder or file.
        size: bytes.
        used: when it was last used, as far as that is known, else when it was made; in seconds
            since the epoch.
        key: of the stage; of outputs, the source's; empty for everything else.
        name, family: of the model; ``name`` of a data set is that data set's.
        data: fingerprint of the data set, or of the one that the stage was trained on.
        sources: how many models taught the stage.
        accuracy: of the stage's last epoch on the validation images, in percent.
        epochs: of the stage that are done.
        images: of the data set, for training and validation.
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
    sources: int = 0
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
        entries: everything, in the order of ``KINDS``.
        users: who uses it, and which searches did.
    """

    entries: tuple[Entry, ...]
    users: tuple[User, ...]

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def outputs(self) -> dict[str, Outputs]:
        """By key of the model whose outputs they are."""
        found: dict[str, Outputs] = {}
        for entry in self.of("outputs"):
            one = found.get(entry.key, Outputs())
            used = max(one.used, entry.used)
            found[entry.key] = Outputs(one.banks + 1, one.size + entry.size, used)
        return found

    def datasets(self) -> dict[str, str]:
        """Names of the prepared data sets, by fingerprint."""
        return {entry.data: entry.name for entry in self.of("data")}


def list_store(store: Store) -> Inventory:
    """Everything in the store; what can't be read or isn't the store's is ``unknown``."""
    entries = [entry for kind, path in _places(store) if (entry := _describe(store, kind, path))]
    users = tuple(store.users())
    entries.sort(key=lambda entry: KINDS.index(entry.kind))  # keeps the paths in order
    return Inventory(tuple(_with_uses(entries, users)), users)


def keyed(store: Store, kind: str) -> Iterator[Path]:
    """Where whole and damaged entries of a kind lie: all but foreign files and temporaries."""
    return (path for found, path in _places(store) if found == kind and _is_placed(kind, path))


def _places(store: Store) -> Iterator[tuple[str, Path]]:
    """Everything there is, with the kind that belongs there."""
    for kind, folder in (("stage", store.root / "stages"), ("outputs", store.root / "outputs")):
        for part in _children(folder):
            whole = _PART.fullmatch(part.name) and part.is_dir()
            yield from ((kind, path) for path in (_children(part) if whole else [part]))
    yield from (("checkpoint", path) for path in _children(store.root / "partial"))
    for path in _children(store.data):
        if path.suffix != ".lock" and path.name != "damaged":
            yield "data", path
    for folder in (store.root / "damaged", store.data / "damaged"):
        yield from (("damaged", path) for path in _children(folder))
    for path in _children(store.root / "users"):
        if path.name.startswith(TEMPORARY):
            yield "temporary", path
    yield from (("unknown", path) for path in _children(store.root) if path.name not in _PLACES)


def _is_placed(kind: str, path: Path) -> bool:
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
        if _is_placed(kind, path) and path.is_dir():
            return replace(entry, **_READERS[kind](store, path))
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


def _stage(store: Store, path: Path, partial: bool = False) -> dict[str, Any]:
    meta = store.meta(path.name, partial)
    if meta is None:
        raise ValueError(path.name)
    spec, row = meta["spec"], meta["rows"][-1]
    # A moved store's files are new, its stages aren't.
    made = (path / "checkpoint.json").stat().st_mtime if partial else float(meta["finished"])
    if not math.isfinite(made):
        raise ValueError(made)
    return {
        "key": path.name,
        "used": made,
        "name": str(spec["architecture"]["name"]),
        "family": str(spec["architecture"]["family"]),
        "data": str(spec["data"]),
        "sources": len(spec["sources"]),
        "accuracy": float(row["val_accuracy"]),
        "epochs": len(meta["rows"]),
    }


def _checkpoint(store: Store, path: Path) -> dict[str, Any]:
    if not (path / "checkpoint.json").exists():
        return {"key": path.name}  # a stop came before the first one was whole
    return _stage(store, path, partial=True)


def _outputs(store: Store, path: Path) -> dict[str, Any]:
    source = source_of(path)
    if not _KEY.fullmatch(source):
        raise ValueError(source)
    return {"key": source}


def _data(store: Store, path: Path) -> dict[str, Any]:
    value = json.loads((path / "info.json").read_bytes())
    return {
        "name": str(value["dataset"]),
        "data": str(value["fingerprint"]),
        "images": int(value["train_count"]) + int(value["validation_count"]),
    }


_READERS: dict[str, Callable[[Store, Path], dict[str, Any]]] = {
    "stage": _stage,
    "checkpoint": _checkpoint,
    "outputs": _outputs,
    "data": _data,
}


def _with_uses(entries: Iterable[Entry], users: Iterable[User]) -> Iterator[Entry]:
    """Who used each entry, and when: a stage also with its outputs, data also with a stage."""
    entries = list(entries)
    searches: dict[str, list[User]] = defaultdict(list)
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
