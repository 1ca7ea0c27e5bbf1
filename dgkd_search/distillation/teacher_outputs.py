"""The teachers of a stage: outputs on each bank of views, computed once and kept in the store.

This module knows the store but no trials. The caller must call ``ready`` before each epoch.
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

POLL = 0.05  # seconds between attempts to take a lock that another process holds


@dataclass
class ForwardCount:
    """Counts forward passes of teachers.

    Attributes:
        computed: number of images run through teachers, summed over teachers.
        seconds: time of computing outputs for the store.
    """

    computed: int = 0
    seconds: float = 0.0


class TeacherOutputs:
    """Provides the teachers of one stage.

    Args:
        spec: the learner's stage.
        data: the training data.
        store: the store of the outputs.
        load: returns a teacher's trained model, on any device, by its key.
        forwards: the count that forward passes are added to.

    Attributes:
        teachers: the teachers for the trainer; None if the stage has none.
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
        """Load or compute the teachers' outputs on a bank of views.

        Yields:
            A teacher's key, repeatedly, while another process computes its outputs.

        Raises:
            StageFailed: outputs are not finite, or the device has too little memory.
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
        """Count the teacher outputs that an epoch used (see ``EpochMetrics.taught``)."""
        if self._stored is None:
            self._forwards.computed += images  # online teachers: one forward pass per output

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
                known = self._store.outputs.get(spec)  # another process may have just stored it
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
