"""The callback, a class whose one method is called with every event of a search."""

from __future__ import annotations

from collections.abc import Mapping

from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    SearchFinished,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialOutcome,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.errors.shown import shown


class Callback:
    """Base class of objects that watch a search; it ignores every event.

    A search calls the methods only from the main thread of the driver.
    """

    def notify(self, event: Event) -> None:
        """Handle an event; subclasses override this method."""

    def log(self, text: str) -> None:
        """Notify of a ``Message``, a line for the user."""
        self.notify(Message(text))


class CallbackList(Callback):
    """A callback that passes each event to several callbacks in turn."""

    def __init__(self, *callbacks: Callback) -> None:
        self._callbacks = callbacks

    def notify(self, event: Event) -> None:
        for callback in self._callbacks:
            callback.notify(event)


class Observer(Callback):
    """A callback with one method per event; see ``events``. Subclasses override the methods.

    New code should override ``Callback.notify`` instead. A job of this class is a trial.
    """

    def notify(self, event: Event) -> None:
        match event:
            case Message(text):
                self.message(text)
            case SearchResumed(ended, best, seconds):
                self.resumed(ended, best, seconds)
            case SearchStarted(budget, concurrency, time_budget, max_replicates):
                self.started(budget, concurrency, time_budget, max_replicates)
            case ReplicationStarted(count):
                self.confirming(count)
            case TrialStarted(trial):
                self.job_started(trial)
            case TrialUpdated(trial, progress):
                self.row(trial, progress)
            case TrialEnded(trial, state, value, reason):
                self.job_ended(trial, state, value, reason)
            case SearchFinished():
                self.finished()

    def started(
        self, budget: int, concurrency: int, time_budget: float | None, repeats: int = 0
    ) -> None:
        """See ``SearchStarted``."""

    def resumed(
        self,
        ended: Mapping[TrialOutcome, int],
        best: tuple[TrialInfo, float] | None,
        seconds: float,
    ) -> None:
        """See ``SearchResumed``."""

    def confirming(self, count: int) -> None:
        """See ``ReplicationStarted``."""

    def message(self, text: str) -> None:
        """See ``Message``."""

    def job_started(self, job: TrialInfo) -> None:
        """See ``TrialStarted``."""

    def row(self, job: TrialInfo, row: TrialProgress) -> None:
        """See ``TrialUpdated``."""

    def job_ended(
        self, job: TrialInfo, state: str, value: float | None, reason: str | None
    ) -> None:
        """See ``TrialEnded``."""

    def finished(self) -> None:
        """See ``SearchFinished``."""


def arrows(chain: tuple[str, ...]) -> str:
    return " > ".join(map(shown, chain))


def trial_label(trial: TrialInfo) -> str:
    name = "labels alone" if trial.number is None else f"#{trial.number}"
    return f"{name}, fresh seed {trial.replicate}:" if trial.replicate else name
