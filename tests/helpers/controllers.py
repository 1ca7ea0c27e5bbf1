"""A search controller that tests drive by hand."""

from __future__ import annotations

from typing import Any

from helpers.progress import progress
from helpers.studies import INFO, make_study

from dgkd_search.callbacks.base import Observer
from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.distillation.progress import ProgressEvent, TrialProgress
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.planner import Planner
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.ray_tune.messages import TrialReport, decode_report, encode_report
from dgkd_search.study.records import REFERENCE, StudentRecord
from dgkd_search.training.spec import StageSpec

EPOCHS = 3


class Watcher(Observer):
    def __init__(self) -> None:
        self.started_jobs: list[TrialInfo] = []
        self.rows: list[tuple[int | None, int | None]] = []
        self.ended: list[tuple[int | None, str, float | None, str | None]] = []
        self.messages: list[str] = []
        self.confirmed: list[int] = []

    def confirming(self, count: int) -> None:
        self.confirmed.append(count)

    def job_started(self, job: TrialInfo) -> None:
        self.started_jobs.append(job)

    def row(self, job: TrialInfo, row: TrialProgress) -> None:
        self.rows.append((job.number, row.step))

    def job_ended(
        self, job: TrialInfo, state: str, value: float | None, reason: str | None
    ) -> None:
        self.ended.append((job.number, state, value, reason))

    def message(self, text: str) -> None:
        self.messages.append(text)


class Search:
    """A controller with its own clock, driven as Tune would."""

    def __init__(
        self,
        *,
        concurrency: int = 2,
        deadline: float | None = None,
        share: bool = False,
        **config: Any,
    ) -> None:
        self.trained: set[str] = set()  # keys of finished stages
        self.stages: dict[str, tuple[StageSpec, ...]] = {}
        path = config.pop("path", None)
        config = {"epochs": EPOCHS, "reference": False, "time_budget": deadline} | config
        self.now = 0.0
        self.watcher = Watcher()
        self.study = make_study(path=path, **config)
        self.controller = SearchController(
            self.study,
            Planner(self.study.config, INFO),
            self.watcher,
            concurrency,
            deadline,
            self.trained.__contains__ if share else None,
            clock=lambda: self.now,
        )
        self._count = 0

    def start(self) -> str | None:
        self._count += 1
        identifier = f"job{self._count}"
        stages = self.controller.next_trial(identifier)
        if stages is None:
            return None
        self.stages[identifier] = stages
        return identifier

    def row(
        self,
        identifier: str,
        step: int | None,
        value: float | None = 50.0,
        event: ProgressEvent = "epoch",
    ) -> bool:
        position = 0 if step is None else 1  # teacher or student
        row = progress(step or 1, value, event=event, position=position, epochs=EPOCHS)
        report = TrialReport((row,), TrialStats(computing=1.0, notes=(f"note {step}",)))
        return self.controller.on_report(identifier, decode_report(encode_report(report)))

    def finish(self, identifier: str, value: float = 50.0) -> None:
        for step in range(1, EPOCHS + 1):
            if self.row(identifier, step, value):
                break
        self.controller.on_end(identifier)

    def fail(self, identifier: str, reason: str = "broken") -> None:
        assert self.controller.on_report(identifier, TrialReport(failure=reason))
        self.controller.on_end(identifier)

    def begin(self) -> str:
        identifier = self.start()
        assert identifier is not None
        return identifier

    def is_finished(self) -> bool:
        """A method, because the result depends on the clock and may change between calls."""
        return self.controller.is_finished

    @property
    def reference(self) -> StudentRecord:
        """The baseline's replicates."""
        record = self.study.read(REFERENCE)
        assert record is not None
        return record

    @property
    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study.trials]


def confirmed(search: Search, values: dict[tuple[int | None, int], float]) -> None:
    """Run all replicates."""
    while not search.controller.is_finished:
        identifier = search.begin()
        job = search.watcher.started_jobs[-1]
        search.finish(identifier, values[job.number, job.replicate])
