"""One trial: the stages of a chain, in order, through the store. Knows neither Ray nor Optuna."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.distillation.progress import ProgressEvent, TrialProgress
from dgkd_search.distillation.stats import StageResult, TrialResult
from dgkd_search.distillation.teacher_outputs import POLL, ForwardCount, TeacherOutputs
from dgkd_search.errors import Unavailable
from dgkd_search.store.store import Store
from dgkd_search.training.batches import TrainingData
from dgkd_search.training.memory import clear_frames, free_cached, reraise_oom
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.streaming import open_data
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model

_CHANCES = 3  # times that a chain is begun, where a store loses what it had
_SIGN_OF_LIFE = 1.0  # seconds between two rows while waiting


class _Vanished(Exception):
    """A finished stage that was there, and was verified, is gone or damaged now that it teaches."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(f"{name} vanished from {root} again and again while it was needed")


class Trial:
    """Trains a chain; a stage that anyone has finished is loaded, never trained again.

    Args:
        stages: from ``chain_stages``: in training order, the student's last.
        data: the prepared data that the stages name.
        store: where stages are looked for and kept.

    Iterate over it for its rows, or call ``run``; ``result`` is up to date at every
    row. Closing the iterator early (a pruned trial) releases every lock and keeps the last
    epoch's checkpoint.
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
        self._known: dict[str, StageRecord] = {}  # finished stages, once they were verified
        self._before: dict[str, int] = {}  # epochs trained before a teacher vanished, by key

    def run(self) -> TrialResult:
        """Run to the end without looking at the rows."""
        for _ in self:
            pass
        return self.result

    def __iter__(self) -> Generator[TrialProgress]:
        noted = len(self.store.notes)
        try:
            with self.store.lease("trial") as self._lease, contextlib.closing(self._rows()) as rows:
                for row in rows:
                    self.result.notes = self.store.notes[noted:]
                    yield row
        finally:
            self.result.notes = self.store.notes[noted:]

    def _rows(self) -> Generator[TrialProgress]:
        self._lease.add(self._specs)  # first of all: from now on nobody removes them
        for chance in range(_CHANCES):
            try:
                yield from self._chain()
                return
            except _Vanished as error:
                if chance + 1 == _CHANCES:
                    raise Unavailable(str(error)) from None
                self._known.clear()  # whatever else is gone is trained again as well
                self._before = {stage.key: stage.trained for stage in self.result.stages}

    def _chain(self) -> Generator[TrialProgress]:
        needed = self._needed()
        for position, spec in enumerate(self.stages):
            if spec.key in needed:
                yield from self._stage(position, spec)
            elif (record := self._finished(spec.key)) is not None:
                yield from self._replay(position, record)

    def _needed(self) -> set[str]:
        """Keys without which there is no student: its own, and the teachers of untrained ones.

        Entries are verified here: a damaged one is trained again, so its teachers are needed too.
        """
        needed: set[str] = set()
        frontier = [self.stages[-1].key]
        while frontier:
            key = frontier.pop()
            if key not in needed:
                needed.add(key)
                if self._finished(key) is None:
                    frontier.extend(self._specs[key].teachers)
        return needed

    def _finished(self, key: str) -> StageRecord | None:
        """What is known of a finished stage, verified once a trial: weights take time to read."""
        if key not in self._known and (entry := self.store.get(key)) is not None:
            self._known[key] = StageRecord.from_json(self._specs[key], entry.meta)
        return self._known.get(key)

    def _stage(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        """Find the stage, train it, or wait for whoever trains it."""
        started = last_sign = time.monotonic()
        while True:
            record = self._finished(spec.key)
            if record is not None:
                self.result.waiting += time.monotonic() - started
                yield from self._replay(position, record)
                return
            lock = self.store.lock(spec.key)
            try:
                lock.acquire()
            except TimeoutError:
                if time.monotonic() - last_sign >= _SIGN_OF_LIFE:
                    last_sign = time.monotonic()
                    yield self._progress("waiting", position, spec, None)
                time.sleep(POLL)
                continue
            try:
                if spec.key not in self.store:  # looked at again: it may have just been finished
                    self.result.waiting += time.monotonic() - started
                    yield from self._train(position, spec)
                    return
            finally:
                lock.release()

    def _train(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        """Train the stage; whatever its end, the device's memory is free for others then."""
        try:
            yield from self._epochs(position, spec)
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            free_cached(self._device)  # the models went with the frame of _epochs

    def _epochs(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        if spec.pretrained:
            raise Unavailable(
                f"{spec.architecture.name}: the weights that were given vanished from "
                f"{self.store.root}; --resume reads them again"
            )
        partial = self.store.get_partial(spec.key)
        forwards = ForwardCount()
        with reraise_oom(spec):
            data = device_data(self._data.path, self._device, spec.numerics.threads)
            outputs = TeacherOutputs(spec, data, self.store, self._load, forwards)
            trainer = Trainer(spec, data, outputs.teachers)
            if partial is not None:
                record = StageRecord.from_json(spec, partial.meta)
                trainer.restore(partial.tensors, record.rows)
        yield from self._again("resumed", position, spec, trainer.rows)
        before = trainer.epoch
        while not trainer.finished:
            yield from self._outputs(outputs, trainer.bank, forwards)
            row = trainer.train_epoch()
            outputs.taught(row.taught)
            self.result.computing += row.seconds
            self.result.taught += row.taught
            self._count(forwards)
            self._keep(spec, trainer, before)
            yield self._progress("epoch", position, spec, row)

    def _outputs(
        self, outputs: TeacherOutputs, bank: int, forwards: ForwardCount
    ) -> Iterator[TrialProgress]:
        """Have the teachers ready for an epoch, with signs of life while another computes them."""
        began, last_sign = None, time.monotonic()
        for key in outputs.ready(bank):
            began = began or time.monotonic()
            if time.monotonic() - last_sign >= _SIGN_OF_LIFE:
                last_sign = time.monotonic()
                teacher = self._specs[key]
                yield self._progress("waiting", self.stages.index(teacher), teacher, None)
        if began is not None:
            self.result.waiting += max(0.0, time.monotonic() - began - forwards.seconds)
        self._count(forwards)

    def _count(self, forwards: ForwardCount) -> None:
        """Add to the result what teachers were run for since the last call."""
        self.result.computing += forwards.seconds
        self.result.forwards += forwards.computed
        forwards.seconds, forwards.computed = 0.0, 0

    def _keep(self, spec: StageSpec, trainer: Trainer, before: int) -> None:
        """After every epoch: nothing that was trained is lost, whatever comes next."""
        description = StageRecord(spec, tuple(trainer.rows)).to_json()
        if trainer.finished:
            self.store.put(spec.key, trainer.weights(), description)
        else:
            self.store.put_partial(spec.key, trainer.checkpoint(), description)
        self._record(spec, trainer.rows, trainer.epoch - before)

    def _replay(self, position: int, record: StageRecord) -> Iterator[TrialProgress]:
        spec, rows = record.spec, record.rows
        self._record(spec, rows, 0)
        # Only a student's epochs mean something to a pruner; of the others the end is enough.
        following = self.stages[position + 1 : position + 2]
        more = any(self._finished(stage.key) is not None for stage in following)
        yield from self._again("replayed", position, spec, rows[-1:] if following else rows, more)

    def _again(
        self,
        event: ProgressEvent,
        position: int,
        spec: StageSpec,
        rows: Sequence[EpochMetrics],
        more: bool = False,
    ) -> Iterator[TrialProgress]:
        for i, row in enumerate(rows, 1):
            yield replace(self._progress(event, position, spec, row), more=more or i < len(rows))

    def _record(self, spec: StageSpec, rows: Sequence[EpochMetrics], trained: int) -> None:
        trained = min(len(rows), trained + self._before.get(spec.key, 0))
        result = StageResult(
            name=spec.architecture.name,
            key=spec.key,
            val_accuracy=rows[-1].val_accuracy,
            epochs=len(rows),
            trained=trained,
            seconds=sum(row.seconds for row in rows[len(rows) - trained :]),
            finished=len(rows) >= spec.recipe.epochs,
        )
        others = [stage for stage in self.result.stages if stage.key != spec.key]
        self.result.stages = [*others, result]

    def _progress(
        self, event: ProgressEvent, position: int, spec: StageSpec, row: EpochMetrics | None
    ) -> TrialProgress:
        name, epochs = spec.architecture.name, spec.recipe.epochs
        return TrialProgress(event, name, position, len(self.stages), epochs, row)

    def _load(self, key: str) -> nn.Module:
        entry = self.store.get(key)
        if entry is None:
            raise _Vanished(self._specs[key].architecture.name, self.store.root)
        return load_model(self._specs[key], entry.tensors)


@lru_cache(maxsize=1)
def device_data(path: Path, device: torch.device, threads: int) -> TrainingData:
    """The dataset on the device: once a process, whatever trials it runs."""
    return open_data(open_prepared(path), device, threads)
