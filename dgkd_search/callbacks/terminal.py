"""How a search shows itself: a live view on a terminal, plain lines anywhere else."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, TextIO, cast

from dgkd_search.callbacks.base import Callback, arrows, trial_label
from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    SearchFinished,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialUpdated,
)
from dgkd_search.callbacks.state import GAP, SearchState, trial_outcome, trial_title
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.utils.formatting import pluralize, strip_control_chars

# rich takes 150 ms to import, which a command that shows no progress should not pay.
if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.status import Status
    from rich.text import Text


_REFRESHES = 4  # per second
_STAGE_WORDS = {
    "waiting": "another trial trains it",
    "replayed": "found in the store",
    "resumed": "goes on from a checkpoint",
}
_WITH_BAR = 60  # columns below which the bar is dropped,
_WITH_ACCURACY = 40  # and those below which the accuracy is
_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red"}
# What the live view draws with, for streams that can't say it; one column each, like the original.
_ASCII = str.maketrans({"…": "~", "━": "#", "─": "-", "·": "|"})


class _SafeStream:
    """A stream that never fails: gone readers are forgotten, odd characters replaced."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII).encode(self.encoding, "replace").decode(self.encoding)
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _try(self, action: Callable[[], object]) -> None:
        # A search must outlive whoever watches it: a closed pipe, terminal (EIO) or file.
        if not self._gone:
            try:
                action()
            except (OSError, ValueError):
                self._gone = True


class LiveProgress(Callback):
    """A view of the search that is redrawn in place; what is permanent scrolls by above it.

    Args:
        stream: a terminal.
        clock: of elapsed times.
        size: columns and rows; the terminal's own, followed through resizing, if not given.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        size: tuple[int, int] | None = None,
    ) -> None:
        from rich.console import Console

        width, height = size or (None, None)
        self.state = SearchState(clock)
        # On the terminal that standard error is, prints of others must not tear the view;
        # a standard output that leads elsewhere is left alone.
        self._owns_stderr = stream is sys.stderr
        self._console = Console(
            file=cast(IO[str], _SafeStream(stream)),
            force_terminal=True,
            force_jupyter=False,
            width=width,
            height=height,
        )
        # Rows come from the driver's thread, redraws from rich's. Nothing is printed under it.
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._status: Status | None = None

    def wait(self) -> None:
        """Show that something happens until the first trial can; messages scroll by above."""
        self._status = self._console.status("starting", spinner="line")
        self._status.start()
        atexit.register(self.close)
        self._console.show_cursor(True)

    def _stop_waiting(self) -> None:
        status, self._status = self._status, None
        if status is not None:
            status.stop()

    def notify(self, event: Event) -> None:
        if isinstance(event, SearchStarted | SearchFinished):
            self._stop_waiting()
        last: TrialProgress | None = None
        with self._lock:
            if isinstance(event, TrialEnded):
                last = self.state.end_trial(event)
            else:
                self.state.update(event)
        match event:
            case Message(text):
                self._print(strip_control_chars(text))
            case SearchStarted():
                self._start()
            case ReplicationStarted(count):
                self._print(_replication_line(count))
            case TrialEnded(trial, state):
                outcome = trial_outcome(event, last)
                self._print(trial_title(trial) + GAP, (outcome, _STYLES.get(state, "")))
            case SearchFinished():
                self.close()

    def _start(self) -> None:
        from rich.live import Live

        if self._live is not None:
            return
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=_REFRESHES,
            redirect_stdout=self._owns_stderr and sys.stdout.isatty(),
            redirect_stderr=self._owns_stderr,
        )
        # Without it an interrupted search could die with the redrawing thread at work.
        atexit.register(self.close)
        self._live.start(refresh=True)
        # The cursor stays visible, so that not even SIGKILL leaves a terminal without one.
        self._console.show_cursor(True)

    def close(self) -> None:
        """Leave the terminal as it is; may be called twice."""
        atexit.unregister(self.close)
        self._stop_waiting()
        with self._lock:
            self.state.running.clear()
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _print(self, *parts: str | tuple[str, str]) -> None:
        from rich.text import Text

        self._console.print(Text.assemble(*parts))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        with self._lock:
            summary, running = self.state.summary(), list(self.state.running.items())
        for line in (*_header(summary, options.max_width), *_rows(running, options.max_width)):
            line.truncate(options.max_width, overflow="ellipsis")
            yield line


def _replication_line(count: int) -> str:
    return f"the trials are over; now {pluralize(count, 'student')} again, with fresh seeds"


def _header(phrases: list[str], width: int) -> Iterator[Text]:
    """The phrases on as few lines as hold them."""
    from rich.text import Text

    line = Text()
    for phrase in phrases:
        if line and line.cell_len + 3 + len(phrase) > width:
            yield line
            line = Text()
        line.append(" · " if line else "", "dim").append(phrase, "" if line else "bold")
    yield line


def _rows(running: list[tuple[TrialInfo, TrialProgress | None]], width: int) -> Iterator[Text]:
    """A line for each running trial: title, status, and where there is room, accuracy and bar."""
    from rich.text import Text

    accuracy = 8 if width >= _WITH_ACCURACY else 0
    bar = min(width // 8, 20) if width >= _WITH_BAR else 0
    statuses = [_status(progress) for _, progress in running]
    status = min(max(map(len, statuses), default=0), max(1, width // 3))
    room = width - status - accuracy - bar - len(GAP) * (1 + bool(accuracy) + bool(bar))
    chains = [_current(trial, progress, max(1, room)) for trial, progress in running]
    room = min(max(1, room), max((chain.cell_len for chain in chains), default=0))
    for chain, words, (_, progress) in zip(chains, statuses, running, strict=True):
        chain.truncate(room, overflow="ellipsis", pad=True)
        cell = Text(words, "dim" if progress is None or progress.event == "waiting" else "")
        cell.truncate(status, overflow="ellipsis", pad=True)
        line = chain.append(GAP).append_text(cell)
        if accuracy:
            value = None if progress is None else progress.val_accuracy
            line.append(GAP + ("" if value is None else f"{value:.2f} %").rjust(accuracy))
        if bar and progress is not None and progress.event != "waiting":
            full = bar * progress.epoch // max(1, progress.epochs)
            line.append(GAP).append("━" * full, "green").append("─" * (bar - full), "dim")
        yield line


def _status(progress: TrialProgress | None) -> str:
    if progress is None:
        return "queued"
    if progress.event == "waiting":
        return f"waiting for {progress.stage}"
    return f"epoch {progress.epoch}/{progress.epochs}"


def _current(trial: TrialInfo, progress: TrialProgress | None, room: int) -> Text:
    """The chain with the current model emphasized; models left behind make room for it."""
    from rich.text import Text

    current = (
        progress.stage if progress is not None and progress.stage in trial.chain else trial.chain[0]
    )
    at, first, start = trial.chain.index(current), 0, f"{trial_label(trial)} "
    while first < at and len(start + arrows(trial.chain[first:])) > room:
        first += 1
        start = f"{trial_label(trial)} … "
    title = Text(start)
    for position, model in enumerate(trial.chain[first:], first):
        title.append(" > " if position > first else "", "dim")
        title.append(model, "bold cyan" if progress is not None and position == at else "")
    return title


class LineProgress(Callback):
    """Plain lines with the time of day: each message, each trial's end, each stage's beginning.

    Args:
        stream: where to, flushed after each line.
        clock: of elapsed times.
        now: the time of day, as it is printed.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self.state = SearchState(clock)
        self._stream = _SafeStream(stream)
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
                    self._write(_replication_line(event.count))

    def _write(self, text: str) -> None:
        for line in strip_control_chars(text).splitlines():
            self._stream.write(f"{self._now()} {line}\n")
        self._stream.flush()


def make_callback(quiet: bool, stream: TextIO | None = None) -> Callback:
    """The callback that fits the stream: standard error by default, so that results stay clean.

    Silent if ``quiet``; live on a terminal that can move its cursor; plain lines elsewhere.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Callback()
    if stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        live = LiveProgress(stream)
        live.wait()
        return live
    return LineProgress(stream)
