"""The stores of a search's trials: one shared store, or a private one for each trial."""

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
        root: the shared store, or the folder of the private stores.
        shared: whether trials share one store.
        limit: bytes that the stored outputs of one store may occupy; None for no limit.
        pretrained: the pretrained teacher to put into every store, if any.
    """

    root: Path
    shared: bool
    limit: int | None = None
    pretrained: PretrainedStage | None = None

    @property
    def data(self) -> Path:
        """The folder of prepared datasets, which trials always share."""
        return self.root / "data"

    def path_for(self, stages: Sequence[StageSpec]) -> Path:
        """Return the path of the store for the trial that trains these stages."""
        # A study trains no student twice, so the student's key identifies its trial. (A trial with
        # guidance ``none`` equals the baseline on labels alone, and finds it in the store.)
        # Replicates use the same store, which contains their assistants.
        return self.root if self.shared else self.root / replace(stages[-1], replicate=0).key

    def open(self, stages: Sequence[StageSpec]) -> Store:
        """Open the store for that trial, with the pretrained teacher in it."""
        store = Store(self.path_for(stages), self.limit)
        if self.pretrained is not None and self.pretrained.record.spec.key not in store:
            self.pretrained.put_into(store)
        return store


@contextlib.contextmanager
def open_stores(
    shared: Path | None, private: Path, limit: int | None
) -> Iterator[tuple[TrialStores, Store | None]]:
    """Open the stores of a search; private stores are removed at the end.

    Args:
        shared: folder of the shared store; None if trials share nothing.
        private: folder of the private stores if trials share nothing.
        limit: bytes that the stored outputs of one store may occupy; None for no limit.

    Yields:
        The stores, and the opened shared store (None without one).

    Raises:
        InputError: the shared store cannot be used.
    """
    if shared is not None:
        store = Store(shared, limit)
        yield TrialStores(store.root, True, limit), store
        return
    make_folder(private)
    yield TrialStores(private.absolute(), False, limit), None
    remove_folder(private)  # not after an interruption: the search may be resumed
