"""Which store a search's trials use: one that everybody shares, or a private one each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgkd_search.distillation.pretrained import PretrainedStage
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.files import make_folder, remove_folder


@dataclass(frozen=True)
class TrialStores:
    """The stores of one search.

    Attributes:
        root: the shared store, or the folder of the private ones.
        shared: whether trials share the store.
        limit: bytes of stored outputs in one store; None for no limit.
        pretrained: the teacher that every store is to hold, if a user has brought it along.
    """

    root: Path
    shared: bool
    limit: int | None = None
    pretrained: PretrainedStage | None = None

    @property
    def data(self) -> Path:
        """Where prepared datasets lie; they are shared whatever trials do."""
        return self.root / "data"

    def path_for(self, stages: Sequence[StageSpec]) -> Path:
        """The store of the trial that trains these stages."""
        # No student is trained twice in a study, so its key names its trial. (Where ``none`` is
        # among the guidances, its trial is the reference, and finds it trained.) Who teaches it
        # again with fresh seeds has the assistants there.
        return self.root if self.shared else self.root / replace(stages[-1], replicate=0).key

    def open(self, stages: Sequence[StageSpec]) -> Store:
        """The store of that trial, holding what is given."""
        store = Store(self.path_for(stages), self.limit)
        if self.pretrained is not None and self.pretrained.record.spec.key not in store:
            self.pretrained.put_into(store)
        return store


@contextlib.contextmanager
def open_stores(
    shared: Path | None, private: Path, limit: int | None
) -> Iterator[tuple[TrialStores, Store | None]]:
    """The stores of a search, for its time; private ones are gone when it is over.

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
        yield TrialStores(store.root, True, limit), store
        return
    make_folder(private)
    yield TrialStores(private.absolute(), False, limit), None
    remove_folder(private)  # not after an interruption: the search may be resumed
