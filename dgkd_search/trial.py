"""One trial: the stages of a chain, in order, through the store. Knows neither Ray nor Optuna."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.device import DeviceData, free_cached
from dgkd_search.identity import StageSpec
from dgkd_search.models import build
from dgkd_search.rows import Row, StageResult, TrialResult
from dgkd_search.stage import EpochRow, Learner, OnlineSource, enough_memory
from dgkd_search.store import StageEntry, Store

_POLL = 0.1  # seconds between two looks at a lock that another trial holds
_SIGN_OF_LIFE = 1.0  # seconds between two rows while waiting


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

    def run(self) -> TrialResult:
        """Run to the end without looking at the rows."""
        for _ in self:
            pass
        return self.result

    def __iter__(self) -> Generator[Row]:
        noted = len(self.store.notes)
        try:
            with contextlib.closing(self._rows()) as rows:
                for row in rows:
                    self.result.notes = self.store.notes[noted:]
                    yield row
        finally:
            self.result.notes = self.store.notes[noted:]

    def _rows(self) -> Generator[Row]:
        needed = self._needed()
        for position, spec in enumerate(self.stages):
            if spec.key in needed:
                yield from self._stage(position, spec)
            elif (entry := self.store.get(spec.key)) is not None:
                yield from self._replay(position, spec, entry)

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
                if self.store.get(key) is None:
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
        """Train the stage; whatever its end, the device's memory is free for others then."""
        try:
            yield from self._epochs(position, spec)
        except Exception as error:
            _clear_frames(error)
            raise
        finally:
            free_cached(self._device)  # the models went with the frame of _epochs

    def _epochs(self, position: int, spec: StageSpec) -> Iterator[Row]:
        partial = self.store.get_partial(spec.key)
        with enough_memory(spec):
            sources = [OnlineSource(self._load(key), self._device) for key in spec.sources]
            learner = Learner(spec, device_data(self._data.path, self._device), sources)
            if partial is not None:
                learner.restore(partial.tensors, [EpochRow(**r) for r in partial.meta["rows"]])
        for row in learner.rows:
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
        else:
            self.store.put_partial(spec.key, learner.checkpoint(), meta)
        self._record(spec, learner.rows, learner.epoch - before)

    def _replay(self, position: int, spec: StageSpec, entry: StageEntry) -> Iterator[Row]:
        rows = [EpochRow(**row) for row in entry.meta["rows"]]
        self._record(spec, rows, 0)
        # Only a student's epochs mean something to a pruner; of the others the end is enough.
        for row in rows if position == len(self.stages) - 1 else rows[-1:]:
            yield self._row("replayed", position, spec, row)

    def _record(self, spec: StageSpec, rows: Sequence[EpochRow], trained: int) -> None:
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
            raise RuntimeError(f"stage {key} vanished from {self.store.root} while it was needed")
        return load_model(self._specs[key], entry.tensors)


def load_model(spec: StageSpec, weights: bytes) -> nn.Module:
    """A stage's model on the CPU, in eval mode, from its safetensors bytes."""
    model = build(spec.architecture, torch.Generator())
    model.load_state_dict(safetensors.torch.load(weights))
    return model.eval()


def _clear_frames(error: BaseException | None) -> None:
    """Drop what the frames behind an error hold: a model would stay on the device with them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


@lru_cache(maxsize=1)
def device_data(path: Path, device: torch.device) -> DeviceData:
    """The data set on the device: once a process, whatever trials it runs."""
    return DeviceData(open_prepared(path), device)
