"""Which store a search's trials use: one that everybody shares, or a private one each."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dgkd_search.identity import StageSpec
from dgkd_search.store import Store

NONE = "none"  # what --store says where trials share nothing
_PRIVATE = "-stores-"  # in names of folders of private stores
_HELD = "held.lock"  # in them, locked as long as their search lives
_FRESH = 60.0  # seconds in which a lock may be made and not yet held


@dataclass(frozen=True)
class Stores:
    """The stores of one search.

    Attributes:
        root: the shared store, or the folder of the private ones.
        shared: whether trials share the store.
        limit: bytes of stored outputs in one store; None for no limit.
    """

    root: Path
    shared: bool
    limit: int | None = None

    @property
    def data(self) -> Path:
        """Where prepared data sets lie; they are shared whatever trials do."""
        return self.root / "data"

    def of(self, stages: Sequence[StageSpec]) -> Path:
        """The store of the trial that trains these stages."""
        # No student is trained twice in a study, so its key names its trial. (Where ``none`` is
        # among the guidances, its trial is the reference, and finds it trained.)
        return self.root if self.shared else self.root / stages[-1].key

    def open(self, stages: Sequence[StageSpec]) -> Store:
        return Store(self.of(stages), self.limit)


@contextlib.contextmanager
def open_stores(
    shared: Path | None, private: Path, limit: int | None
) -> Iterator[tuple[Stores, Store | None]]:
    """The stores of a search, for its time; private ones are gone afterwards.

    Args:
        shared: folder of the store that trials share; None where they share nothing.
        private: folder for stores of their own, where they do.

    Yields:
        The stores, and the shared one, opened.

    Raises:
        InputError: the shared store can't be used.
    """
    if shared is not None:
        store = Store(shared, limit)
        yield Stores(store.root, True, limit), store
        return
    _sweep(private.parent)
    private.mkdir(parents=True)
    try:
        with FileLock(private / _HELD, timeout=0):
            yield Stores(private.absolute(), False, limit), None
    finally:
        shutil.rmtree(private, ignore_errors=True)


def private_folder(run: Path) -> Path:
    """Where the private stores of a run lie: nobody else's, even of one with the same folder."""
    return run.with_name(f".{run.name}{_PRIVATE}{uuid.uuid4().hex[:8]}")


def _sweep(folder: Path) -> None:
    """Remove private stores that killed searches left there."""
    for left in folder.glob(f".*{_PRIVATE}*"):
        held = left / _HELD
        with contextlib.suppress(OSError):  # held (a TimeoutError), gone, or being made
            if time.time() - held.stat().st_mtime < _FRESH:
                continue
            with FileLock(held, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
