"""The events of a search as JSON, one per line, for programs that watch it."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    SearchFinished,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialStarted,
    TrialUpdated,
)


class JsonLines(Callback):
    """Writes one JSON object per line: ``event``, ``time`` (seconds since 1970) and these fields.

    - ``message``: ``text``.
    - ``resumed``: ``ended`` (trials by state), ``best`` and ``seconds`` so far.
    - ``started``: ``budget``, ``concurrency``, ``time_budget`` (seconds, or null) and ``repeats``
      (the largest number of replicates).
    - ``trial_started``, ``trial_row``, ``trial_ended``: ``trial`` (``number``, null for the student
      on labels alone; ``chain``, ``guidance``, ``drop_prob``; ``replicate``, from 1 for
      replicates). ``trial_row`` adds ``row`` (stage, epoch, ``val_accuracy`` in percent, ...; its
      own ``event`` is epoch, replayed, resumed or waiting). ``trial_ended`` adds ``state``
      (complete, pruned, failed, stopped), ``val_accuracy`` and ``reason``.
    - ``confirming``: ``count``, the number of replicates that follow.
    - ``finished``: trials and replicates have ended.
    - ``summary`` or ``error`` (``text``): the last line. ``preview`` (``lines``): a dry run.

    Args:
        stream: receives the lines; errors of a closed stream are ignored.
        now: returns the time.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.time) -> None:
        self._stream, self._now = stream, now
        self._running = False

    def write(self, event: str, **facts: Any) -> None:
        """Write one event; infinite numbers and NaN are written as null."""
        line = json.dumps({"event": event, "time": round(self._now(), 3), **_plain(facts)})
        with contextlib.suppress(OSError, ValueError):  # the reader may have ended
            self._stream.write(line + "\n")
            self._stream.flush()

    def notify(self, event: Event) -> None:
        match event:
            case Message(text):
                self.write("message", text=text)
            case SearchResumed(ended, best, seconds):
                trial = (
                    None if best is None else {"trial": asdict(best[0]), "val_accuracy": best[1]}
                )
                self.write("resumed", ended=dict(ended), best=trial, seconds=seconds)
            case SearchStarted():
                self._running = True
                self.write(
                    "started",
                    budget=event.budget,
                    concurrency=event.concurrency,
                    time_budget=event.time_budget,
                    repeats=event.max_replicates,
                )
            case ReplicationStarted(count):
                self.write("confirming", count=count)
            case TrialStarted(info):
                self.write("trial_started", trial=asdict(info))
            case TrialUpdated(info, progress):
                self.write("trial_row", trial=asdict(info), row=progress.to_dict())
            case TrialEnded(info, state, value, reason):
                facts = {"state": state, "val_accuracy": value, "reason": reason}
                self.write("trial_ended", trial=asdict(info), **facts)
            case SearchFinished():
                if self._running:
                    self.write("finished")
                self._running = False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
