"""One trial: the stages of a chain, in order, through the store. Knows neither Ray nor Optuna."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.device import TrainingData, free_cached
from dgkd_search.errors import Unavailable
from dgkd_search.identity import StageSpec
from dgkd_search.rows import Row, StageResult, TrialResult
from dgkd_search.stage import EpochRow, Learner, enough_memory
from dgkd_search.store import Store
from dgkd_search.stream import open_data
from dgkd_search.supply import POLL, Forwards, SourceSupply
from dgkd_search.weights import load_model

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
        self._known: dict[str, dict[str, Any]] = {}  # finished stages, once they were verified
        self._before: dict[str, int] = {}  # epochs trained before a source vanished, by key

    def run(self) -> TrialResult:
        """Run to the end without looking at the rows."""
        for _ in self:
            pass
        return self.result

    def __iter__(self) -> Generator[Row]:
        noted = len(self.store.notes)
        try:
            with self.store.lease("trial") as self._lease, contextlib.closing(self._rows()) as rows:
                for row in rows:
                    self.result.notes = self.store.notes[noted:]
                    yield row
        finally:
            self.result.notes = self.store.notes[noted:]

    def _rows(self) -> Generator[Row]:
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

    def _chain(self) -> Generator[Row]:
        needed = self._needed()
        for position, spec in enumerate(self.stages):
            if spec.key in needed:
                yield from self._stage(position, spec)
            elif (meta := self._finished(spec.key)) is not None:
                yield from self._replay(position, spec, meta)

    def _needed(self) -> set[str]:
        """Keys without which there is no student: its own, and the sources of untrained ones.

        Entries are verified here: a damaged one is trained again, so its sources are needed too.
        """
        needed: set[str] = set()
        frontier = [self.stages[-1].key]
        while frontier:
            key = frontier.pop()
            if key not in needed:
                needed.add(key)
                if self._finished(key) is None:
                    frontier.extend(self._specs[key].sources)
        return needed

    def _finished(self, key: str) -> dict[str, Any] | None:
        """What is known of a finished stage, verified once a trial: weights take time to read."""
        if key not in self._known and (entry := self.store.get(key)) is not None:
            self._known[key] = entry.meta
        return self._known.get(key)

    def _stage(self, position: int, spec: StageSpec) -> Iterator[Row]:
        """Find the stage, train it, or wait for whoever trains it."""
        started = last_sign = time.monotonic()
        while True:
            meta = self._finished(spec.key)
            if meta is not None:
                self.result.waiting += time.monotonic() - started
                yield from self._replay(position, spec, meta)
                return
            lock = self.store.lock(spec.key)
            try:
                lock.acquire()
            except TimeoutError:
                if time.monotonic() - last_sign >= _SIGN_OF_LIFE:
                    last_sign = time.monotonic()
                    yield self._row("waiting", position, spec, None)
                time.sleep(POLL)
                continue
            try:
                if spec.key not in self.store:  # looked at again: it may have just been finished
                    self.result.waiting += time.monotonic() - started
                    yield from self._train(position, spec)
                    return
            finally:
                lock.release()

    def _train(self, position: int, spec: StageSpec) -> Iterator[Row]:
        """Train the stage; whatever its end, the device's memory is free for others then."""
        try:
            yield from self._epochs(position, spec)
        except Exception as error:
            _clear_frames(error)
            raise
        finally:
            free_cached(self._device)  # the models went with the frame of _epochs

    def _epochs(self, position: int, spec: StageSpec) -> Iterator[Row]:
        if spec.given:
            raise Unavailable(
                f"{spec.architecture.name}: the weights that were given vanished from "
                f"{self.store.root}; --resume reads them again"
            )
        partial = self.store.get_partial(spec.key)
        forwards = Forwards()
        with enough_memory(spec):
            data = device_data(self._data.path, self._device, spec.numerics.threads)
            supply = SourceSupply(spec, data, self.store, self._load, forwards)
            learner = Learner(spec, data, supply.sources)
            if partial is not None:
                learner.restore(partial.tensors, [EpochRow(**r) for r in partial.meta["rows"]])
        yield from self._again("resumed", position, spec, learner.rows)
        before = learner.epoch
        while not learner.finished:
            yield from self._outputs(supply, learner.bank, forwards)
            row = learner.train_epoch()
            supply.taught(row.taught)
            self.result.computing += row.seconds
            self.result.taught += row.taught
            self._count(forwards)
            self._keep(spec, learner, before)
            yield self._row("epoch", position, spec, row)

    def _outputs(self, supply: SourceSupply, bank: int, forwards: Forwards) -> Iterator[Row]:
        """Have the sources ready for an epoch, with signs of life while another computes them."""
        began, last_sign = None, time.monotonic()
        for key in supply.ready(bank):
            began = began or time.monotonic()
            if time.monotonic() - last_sign >= _SIGN_OF_LIFE:
                last_sign = time.monotonic()
                source = self._specs[key]
                yield self._row("waiting", self.stages.index(source), source, None)
        if began is not None:
            self.result.waiting += max(0.0, time.monotonic() - began - forwards.seconds)
        self._count(forwards)

    def _count(self, forwards: Forwards) -> None:
        """Add to the result what sources were run for since the last call."""
        self.result.computing += forwards.seconds
        self.result.forwards += forwards.computed
        forwards.seconds, forwards.computed = 0.0, 0

    def _keep(self, spec: StageSpec, learner: Learner, before: int) -> None:
        """After every epoch: nothing that was trained is lost, whatever comes next."""
        meta = {"spec": spec.to_dict(), "rows": [row.to_dict() for row in learner.rows]}
        if learner.finished:
            self.store.put(spec.key, learner.weights(), meta)
        else:
            self.store.put_partial(spec.key, learner.checkpoint(), meta)
        self._record(spec, learner.rows, learner.epoch - before)

    def _replay(self, position: int, spec: StageSpec, meta: dict[str, Any]) -> Iterator[Row]:
        rows = [EpochRow(**row) for row in meta["rows"]]
        self._record(spec, rows, 0)
        # Only a student's epochs mean something to a pruner; of the others the end is enough.
        following = self.stages[position + 1 : position + 2]
        more = any(self._finished(stage.key) is not None for stage in following)
        yield from self._again("replayed", position, spec, rows[-1:] if following else rows, more)

    def _again(
        self,
        event: str,
        position: int,
        spec: StageSpec,
        rows: Sequence[EpochRow],
        more: bool = False,
    ) -> Iterator[Row]:
        for i, row in enumerate(rows, 1):
            yield replace(self._row(event, position, spec, row), more=more or i < len(rows))

    def _record(self, spec: StageSpec, rows: Sequence[EpochRow], trained: int) -> None:
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
            raise _Vanished(self._specs[key].architecture.name, self.store.root)
        return load_model(self._specs[key], entry.tensors)


def _clear_frames(error: BaseException | None) -> None:
    """Drop what the frames behind an error hold: a model would stay on the device with them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


@lru_cache(maxsize=1)
def device_data(path: Path, device: torch.device, threads: int) -> TrainingData:
    """The data set on the device: once a process, whatever trials it runs."""
    return open_data(open_prepared(path), device, threads)
