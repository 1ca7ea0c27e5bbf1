"""Adapters between the controller and Tune: a searcher, a scheduler and a callback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.ray_tune.messages import decode_report
from dgkd_search.study.ray_tune.trainable import EVENT, TRIAL
from dgkd_search.training.spec import StageSpec


class NotCheckpointed:
    """Excludes the state from Tune's snapshots, which are never read; it holds locks."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DeferredError:
    """Keeps the first error of the controller until the search can be ended with it.

    Tune treats an exception in a callback as a failure of the trial and continues. A full disk
    under study.db would then cause a series of failed trials.
    """

    def __init__(self) -> None:
        self._error: Exception | None = None

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self._error is not None:
            raise self._error

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Catch an error and keep it."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error


class StudySearcher(NotCheckpointed, Searcher):  # type: ignore[misc]
    """Proposes the controller's next trial; it has no metric, because reports differ in kind."""

    def __init__(
        self,
        controller: SearchController,
        encode_trial: Callable[[tuple[StageSpec, ...]], str],
        alarm: DeferredError,
    ) -> None:
        super().__init__()
        self._controller = controller
        self._encode_trial = encode_trial
        self._alarm = alarm

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._controller.is_finished:
            return str(Searcher.FINISHED)
        stages = self._controller.next_trial(trial_id)
        return {TRIAL: self._encode_trial(stages)} if stages is not None else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        with self._alarm.listening():
            if error:
                self._controller.on_lost(trial_id, "its worker died")
            else:
                self._controller.on_end(trial_id)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True  # Tune's own limiter leaks a slot for each error that it doesn't see

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study holds the state, and Tune's snapshots are never read."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its study, not from Tune's snapshot")


class StudyScheduler(NotCheckpointed, FIFOScheduler):  # type: ignore[misc]
    """Runs trials in order and stops a trial when the controller says so."""

    def __init__(self, controller: SearchController, alarm: DeferredError) -> None:
        super().__init__()
        self._controller = controller
        self._alarm = alarm

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        stop = True
        with self._alarm.listening():
            known = EVENT in result and trial.trial_id in self._controller.running
            stop = known and self._controller.on_report(
                trial.trial_id, decode_report(result[EVENT])
            )
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        self._reconcile(tune_controller.get_trials())
        return super().choose_trial_to_run(tune_controller)

    def _reconcile(self, trials: list[TuneTrial]) -> None:
        """End trials whose Tune trial failed without a callback, as some errors do."""
        for trial in trials:
            if trial.status == TuneTrial.ERROR and trial.trial_id in self._controller.running:
                with self._alarm.listening():
                    self._controller.on_lost(trial.trial_id, "its worker could not be started")


class StepHook(NotCheckpointed, Callback):  # type: ignore[misc]
    """Calls ``action`` before each step of Tune's loop, at least every tenth of a second."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._action()


class NullReporter(ProgressReporter):  # type: ignore[misc]
    """Reports nothing: searches have callbacks, and Tune's reporter would clear a notebook cell."""

    def should_report(self, trials: list[TuneTrial], done: bool = False) -> bool:
        return False
