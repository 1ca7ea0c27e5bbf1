"""Where a stage's teachers come from: their outputs on each bank of views, computed once for all.

Knows the store, and nothing of trials: whoever runs a stage asks for a bank before each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dgkd_search.store.store import Store
from dgkd_search.training.batches import TrainingData
from dgkd_search.training.cuda_graphs import graphs_apply
from dgkd_search.training.memory import reraise_oom
from dgkd_search.training.spec import OutputsSpec, StageSpec
from dgkd_search.training.teachers import (
    CachedTeachers,
    OnlineTeachers,
    Teachers,
    compute_outputs,
    freeze,
)
from dgkd_search.training.trainer import views_of

POLL = 0.05  # seconds between two looks at a lock that another process holds


@dataclass
class ForwardCount:
    """What frozen models were run for.

    Attributes:
        computed: images that went through a frozen model, counted once for each model.
        seconds: that this took, where outputs were computed for the store.
    """

    computed: int = 0
    seconds: float = 0.0


class TeacherOutputs:
    """The teachers of one stage.

    Args:
        spec: of the stage that they teach.
        load: gives a teacher's trained model, on any device, by its key.
        forwards: is added to.

    Attributes:
        teachers: for the learner; None where nobody teaches it.
    """

    def __init__(
        self,
        spec: StageSpec,
        data: TrainingData,
        store: Store,
        load: Callable[[str], nn.Module],
        forwards: ForwardCount,
    ) -> None:
        self._spec, self._data, self._store, self._load = spec, data, store, load
        self._forwards = forwards
        self._models: dict[str, nn.Module] = {}
        self._views = views_of(data.info, spec.recipe.augment)
        self.teachers: Teachers | None = None
        self._stored: CachedTeachers | None = None
        if spec.teachers and spec.outputs == "stored":
            self.teachers = self._stored = CachedTeachers(len(spec.teachers))
        elif spec.teachers:
            models = [self._load(key) for key in spec.teachers]
            graphs = graphs_apply(spec, data.device)
            self.teachers = OnlineTeachers(models, data.device, spec.numerics, graphs)

    def ready(self, bank: int) -> Generator[str]:
        """Make the teachers teach on a bank.

        Yields:
            A teacher's key, now and then while another process computes its outputs.

        Raises:
            StageFailed: outputs aren't finite, or the device has too little memory.
        """
        if self._stored is None or self._stored.holds(bank):
            return
        self._stored.drop()
        outputs = []
        with reraise_oom(self._spec):
            for key in self._spec.teachers:
                outputs.append((yield from self._outputs(key, bank)))
        self._stored.use(bank, outputs)

    def taught(self, images: int) -> None:
        """An epoch taught this many images, over all teachers (see ``EpochMetrics.taught``)."""
        if self._stored is None:
            self._forwards.computed += images  # each was run for it

    def _outputs(self, key: str, bank: int) -> Generator[str, None, Tensor]:
        spec = OutputsSpec(key, self._spec.recipe.augment, bank, self._spec.numerics)
        while True:
            known = self._store.outputs.get(spec)
            if known is not None:
                return torch.from_numpy(known).to(self._data.device, non_blocking=True)
            lock = self._store.outputs.lock(spec)
            try:
                lock.acquire()
            except TimeoutError:
                yield key
                time.sleep(POLL)
                continue
            try:
                known = self._store.outputs.get(spec)  # it may have just been computed
                if known is None:
                    return self._compute(spec)
            finally:
                lock.release()

    def _compute(self, spec: OutputsSpec) -> Tensor:
        started = time.perf_counter()
        model = self._model(spec.teacher)
        outputs = compute_outputs(model, self._data, self._views, spec.bank, spec.numerics)
        self._store.outputs.put(spec, outputs.numpy())
        self._forwards.computed += len(outputs)
        self._forwards.seconds += time.perf_counter() - started
        return outputs.to(self._data.device)

    def _model(self, key: str) -> nn.Module:
        if key not in self._models:
            self._models[key] = freeze(self._load(key), self._data.device, self._spec.numerics)
        return self._models[key]
