"""Progress as plain lines, for streams that can't be redrawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from dgkd_search.callbacks.base import Callback, trial_label
from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    TrialEnded,
    TrialUpdated,
)
from dgkd_search.callbacks.safe_stream import SafeStream
from dgkd_search.callbacks.state import (
    GAP,
    SearchState,
    replication_line,
    trial_outcome,
    trial_title,
)
from dgkd_search.errors.shown import shown_lines

_STAGE_WORDS = {
    "waiting": "waiting for another trial to train it",
    "replayed": "cached",
    "resumed": "resumed from a checkpoint",
}


class LineProgress(Callback):
    """Prints a line with the time of day for each message, start of a stage, and end of a trial.

    Args:
        stream: receives the lines, and is flushed after each.
        clock: returns seconds from any origin.
        now: returns the time of day as it is printed.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self.state = SearchState(clock)
        self._stream = SafeStream(stream)
        self._now = now

    def notify(self, event: Event) -> None:
        match event:
            case Message(text):
                self._write(text)
            case TrialUpdated(trial, progress):
                if self.state.add_progress(event):
                    stage = f"{progress.stage} ({progress.position + 1} of {progress.stages})"
                    how = _STAGE_WORDS.get(progress.event, "training")
                    self._write(f"{trial_label(trial)} {stage}: {how}")
            case TrialEnded(trial):
                last = self.state.end_trial(event)
                line = f"{trial_title(trial)}{GAP}{trial_outcome(event, last)}"
                if trial.number is not None or trial.replicate:
                    best = f"best {self.state.best[1]:.2f} %" if self.state.best else None
                    facts = filter(None, (self.state.count(), best, self.state.remaining()))
                    line += f"{GAP}[{', '.join(facts)}]"
                self._write(line)
            case _:
                self.state.update(event)
                if isinstance(event, ReplicationStarted):
                    self._write(replication_line(event.count))

    def _write(self, text: str) -> None:
        for line in shown_lines(text):
            self._stream.write(f"{self._now()} {line}\n")
        self._stream.flush()
