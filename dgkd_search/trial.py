"""One trial: the stages of a chain, in order, through the store. Knows neither Ray nor Optuna."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.device import DeviceData
from dgkd_search.identity import StageSpec
from dgkd_search.models import build
from dgkd_search.stage import EpochRow, Learner, OnlineSource
from dgkd_search.store import StageEntry, Store

_POLL = 0.1  # seconds between two looks at a lock that another trial holds
_SIGN_OF_LIFE = 1.0  # seconds between two rows while waiting


@dataclass(frozen=True)
class Row:
    """One sign of life of a trial.

    Attributes:
        event: ``epoch`` (trained now), ``replayed`` (an epoch that the store had), ``waiting``
            (another trial trains this stage).
        stage: name of the model.
        position: of the stage, from 0, among ``stages`` stages.
        epoch: epochs of the stage done, of ``epochs``.
        step: the student's epoch, from 1, which pruners compare; None for all other rows.
        val_accuracy: in percent; None while waiting.
    """

    event: str
    stage: str
    position: int
    stages: int
    epoch: int
    epochs: int
    step: int | None = None
    train_loss: float | None = None
    val_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class StageResult:
    """How a trial came by one of its models: ``trained`` epochs here, the rest from the store."""

    name: str
    key: str
    val_accuracy: float
    epochs: int
    trained: int
    seconds: float


@dataclass
class TrialResult:
    """What a finished trial knows.

    Attributes:
        stages: in training order, the student last.
        computing, waiting: seconds spent training, and waiting for another trial's stage.
        notes: one line for each damaged file that was met in the store.
    """

    stages: list[StageResult] = field(default_factory=list)
    computing: float = 0.0
    waiting: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def val_accuracy(self) -> float:
        """The student's, in percent, after its last epoch."""
        return self.stages[-1].val_accuracy

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Trial:
    """Trains a chain; a stage that anyone has finished is loaded, never trained again.

    Args:
        stages: from ``chain_stages``: in training order, the student's last.
        data: the prepared data that the stages name.
        store: where stages are looked for and kept.

    Iterate over it for its rows, or call ``run``; then read ``result``. Closing the iterator
    early (a pruned trial) releases every lock and keeps the last epoch's checkpoint.
    """

    def __init__(self, stages: Sequence[StageSpec], data: PreparedData, store: Store) -> None:
        if any(stage.data != data.info.fingerprint for stage in stages):
            raise ValueError("the stages were planned for other data than they are given")
        self.stages = tuple(stages)
        self.store = store
        self.result = TrialResult()
        self._data = data
        self._device = torch.device(stages[0].numerics.device_type)
        self._specs = {stage.key: stage for stage in self.stages}

    def run(self) -> TrialResult:
        """Run to the end without looking at the rows."""
        for _ in self:
            pass
        return self.result

    def __iter__(self) -> Generator[Row]:
        needed = self._needed()
        try:
            for position, spec in enumerate(self.stages):
                if spec.key in needed or spec.key in self.store:
                    yield from self._stage(position, spec)
        finally:
            self.result.notes = list(self.store.notes)

    def _needed(self) -> set[str]:
        """Keys without which there is no student: its own, and the sources of untrained ones."""
        needed: set[str] = set()
        frontier = [self.stages[-1].key]
        while frontier:
            key = frontier.pop()
            if key not in needed:
                needed.add(key)
                if key not in self.store:
                    frontier.extend(self._specs[key].sources)
        return needed

    def _stage(self, position: int, spec: StageSpec) -> Iterator[Row]:
        """Find the stage, train it, or wait for whoever trains it."""
        started = last_sign = time.monotonic()
        while True:
            entry = self.store.get(spec.key)
            if entry is not None:
                self.result.waiting += time.monotonic() - started
                yield from self._replay(position, spec, entry)
                return
            lock = self.store.lock(spec.key)
            try:
                lock.acquire()
            except TimeoutError:
                if time.monotonic() - last_sign >= _SIGN_OF_LIFE:
                    last_sign = time.monotonic()
                    yield self._row("waiting", position, spec, None)
                time.sleep(_POLL)
                continue
            try:
                if spec.key not in self.store:  # looked at again: it may have just been finished
                    self.result.waiting += time.monotonic() - started
                    yield from self._train(position, spec)
                    return
            finally:
                lock.release()

    def _train(self, position: int, spec: StageSpec) -> Iterator[Row]:
        sources = [OnlineSource(self._load(key), self._device) for key in spec.sources]
        learner = Learner(spec, device_data(self._data.path, self._device), sources)
        partial = self.store.get_partial(spec.key)
        if partial is not None:
            rows = [EpochRow(**row) for row in partial.meta["rows"]]
            learner.restore(partial.tensors, rows)
            for row in rows:
                yield self._row("replayed", position, spec, row)
        before = learner.epoch
        while not learner.finished:
            row = learner.train_epoch()
            self.result.computing += row.seconds
            self._keep(spec, learner, before)
            yield self._row("epoch", position, spec, row)

    def _keep(self, spec: StageSpec, learner: Learner, before: int) -> None:
        """After every epoch: nothing that was trained is lost, whatever comes next."""
        meta = {"spec": spec.to_dict(), "rows": [row.to_dict() for row in learner.rows]}
        if learner.finished:
            self.store.put(spec.key, learner.weights(), meta)
            self._record(spec, learner.rows, learner.epoch - before)
        else:
            self.store.put_partial(spec.key, learner.checkpoint(), meta)

    def _replay(self, position: int, spec: StageSpec, entry: StageEntry) -> Iterator[Row]:
        rows = [EpochRow(**row) for row in entry.meta["rows"]]
        self._record(spec, rows, 0)
        # Only a student's epochs mean something to a pruner; of the others the end is enough.
        for row in rows if position == len(self.stages) - 1 else rows[-1:]:
            yield self._row("replayed", position, spec, row)

    def _record(self, spec: StageSpec, rows: Sequence[EpochRow], trained: int) -> None:
        self.result.stages.append(
            StageResult(
                name=spec.architecture.name,
                key=spec.key,
                val_accuracy=rows[-1].val_accuracy,
                epochs=len(rows),
                trained=trained,
                seconds=sum(row.seconds for row in rows[len(rows) - trained :]),
            )
        )

    def _row(self, event: str, position: int, spec: StageSpec, row: EpochRow | None) -> Row:
        student = position == len(self.stages) - 1
        return Row(
            event=event,
            stage=spec.architecture.name,
            position=position,
            stages=len(self.stages),
            epoch=row.epoch if row else 0,
            epochs=spec.recipe.epochs,
            step=row.epoch if row and student else None,
            train_loss=row.train_loss if row else None,
            val_accuracy=row.val_accuracy if row else None,
        )

    def _load(self, key: str) -> nn.Module:
        entry = self.store.get(key)
        if entry is None:
            raise RuntimeError(f"stage {key} vanished from {self.store.root} while it was needed")
        return load_model(self._specs[key], entry.tensors)


def load_model(spec: StageSpec, weights: bytes) -> nn.Module:
    """A stage's model on the CPU, in eval mode, from its safetensors bytes."""
    model = build(spec.architecture, torch.Generator())
    model.load_state_dict(safetensors.torch.load(weights))
    return model.eval()


@lru_cache(maxsize=1)
def device_data(path: Path, device: torch.device) -> DeviceData:
    """The data set on the device: once a process, whatever trials it runs."""
    return DeviceData(open_prepared(path), device)
