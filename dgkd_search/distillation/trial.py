"""A trial: training the stages of a chain in order, with the store. No Ray, no Optuna."""

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
from dgkd_search.distillation.stored_stages import restore_trainer, stored_model, stored_record
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

_ATTEMPTS = 3  # how often a chain is started if finished stages vanish from the store
_REPORT_INTERVAL = 1.0  # seconds between progress reports while waiting


class _Vanished(Exception):
    """A teacher that was verified at the start is now missing or damaged."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(f"{name} vanished from {root} repeatedly while it was needed")


class Trial:
    """Trains a chain; stages in the store are loaded instead of trained.

    Iterate over it for progress reports, or call ``run``. ``result`` is up to date at every report.
    Closing the iterator early, as for a pruned trial, releases all locks; the checkpoint of the
    last epoch stays in the store.

    Args:
        stages: output of ``chain_stages``: in training order, the student's last.
        data: the prepared data that the stages were planned for.
        store: the store that stages are loaded from and written to.

    Attributes:
        result: the results so far.
    """

    def __init__(self, stages: Sequence[StageSpec], data: PreparedData, store: Store) -> None:
        if any(stage.data != data.info.fingerprint for stage in stages):
            raise ValueError("the stages were planned for different data")
        self.stages = tuple(stages)
        self.store = store
        self.result = TrialResult()
        self._data = data
        self._device = torch.device(stages[0].numerics.device_type)
        self._specs = {stage.key: stage for stage in self.stages}
        self._known: dict[str, StageRecord] = {}  # finished stages, once they were verified
        self._before: dict[str, int] = {}  # epochs trained before a teacher vanished, by key

    def run(self) -> TrialResult:
        """Run to the end, ignoring progress reports."""
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
        self._lease.add(self._specs)  # first of all, so that the stages are not removed
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                yield from self._chain()
                return
            except _Vanished as error:
                if attempt == _ATTEMPTS:
                    raise Unavailable(str(error)) from None
                self._known.clear()  # verify all stages anew
                self._before = {stage.key: stage.trained for stage in self.result.stages}

    def _chain(self) -> Generator[TrialProgress]:
        needed = self._needed()
        for position, spec in enumerate(self.stages):
            if spec.key in needed:
                yield from self._stage(position, spec)
            elif (record := self._finished(spec.key)) is not None:
                yield from self._replay(position, record)

    def _needed(self) -> set[str]:
        """Return the keys of the student and, recursively, of the teachers of unfinished stages.

        Entries are verified here. A damaged one is trained again, so its teachers are needed too.
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
        """Return the record of a finished stage, verified once per trial, as this reads weights."""
        if key not in self._known:
            record = stored_record(self.store, self._specs[key])
            if record is not None:
                self._known[key] = record
        return self._known.get(key)

    def _stage(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        """Load the stage, train it, or wait for the process that trains it."""
        started = last_report = time.monotonic()
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
                if time.monotonic() - last_report >= _REPORT_INTERVAL:
                    last_report = time.monotonic()
                    yield self._progress("waiting", position, spec, None)
                time.sleep(POLL)
                continue
            try:
                if spec.key not in self.store:  # another process may have just finished it
                    self.result.waiting += time.monotonic() - started
                    yield from self._train(position, spec)
                    return
            finally:
                lock.release()

    def _train(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        """Train the stage, and free the device's memory afterwards, even after an error."""
        try:
            yield from self._epochs(position, spec)
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            free_cached(self._device)  # the models were freed with the frame of _epochs

    def _epochs(self, position: int, spec: StageSpec) -> Iterator[TrialProgress]:
        if spec.pretrained:
            raise Unavailable(
                f"{spec.architecture.name}: the pretrained weights vanished from "
                f"{self.store.root}; --resume reads them again"
            )
        forwards = ForwardCount()
        with reraise_oom(spec):
            data = device_data(self._data.path, self._device, spec.numerics.threads)
            outputs = TeacherOutputs(spec, data, self.store, self._load, forwards)
            trainer = Trainer(spec, data, outputs.teachers)
            if not restore_trainer(self.store, spec, trainer):
                trainer = Trainer(spec, data, outputs.teachers)
        yield from self._past_epochs("resumed", position, spec, trainer.rows)
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
        """Prepare the teachers for an epoch; report while another process computes outputs."""
        began, last_report = None, time.monotonic()
        for key in outputs.ready(bank):
            began = began or time.monotonic()
            if time.monotonic() - last_report >= _REPORT_INTERVAL:
                last_report = time.monotonic()
                teacher = self._specs[key]
                yield self._progress("waiting", self.stages.index(teacher), teacher, None)
        if began is not None:
            self.result.waiting += max(0.0, time.monotonic() - began - forwards.seconds)
        self._count(forwards)

    def _count(self, forwards: ForwardCount) -> None:
        """Move the count of forward passes to the result."""
        self.result.computing += forwards.seconds
        self.result.forwards += forwards.computed
        forwards.seconds, forwards.computed = 0.0, 0

    def _keep(self, spec: StageSpec, trainer: Trainer, before: int) -> None:
        """Store the stage or its checkpoint, after every epoch."""
        description = StageRecord(spec, tuple(trainer.rows)).to_json()
        if trainer.finished:
            self.store.put(spec.key, trainer.weights(), description)
        else:
            self.store.put_partial(spec.key, trainer.checkpoint(), description)
        self._record(spec, trainer.rows, trainer.epoch - before)

    def _replay(self, position: int, record: StageRecord) -> Iterator[TrialProgress]:
        spec, rows = record.spec, record.rows
        self._record(spec, rows, 0)
        # Pruners need all epochs of the student; of other stages the last epoch is enough.
        following = self.stages[position + 1 : position + 2]
        more = any(self._finished(stage.key) is not None for stage in following)
        yield from self._past_epochs(
            "replayed", position, spec, rows[-1:] if following else rows, more
        )

    def _past_epochs(
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
        model = stored_model(self.store, self._specs[key])
        if model is None:
            raise _Vanished(self._specs[key].architecture.name, self.store.root)
        return model


@lru_cache(maxsize=1)
def device_data(path: Path, device: torch.device, threads: int) -> TrainingData:
    """Return the dataset on the device, loaded once per process."""
    return open_data(open_prepared(path), device, threads)
