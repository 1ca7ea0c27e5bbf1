"""Progress on a terminal: a live view, or plain lines where a view can't be drawn."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, TextIO, cast

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    SearchFinished,
    SearchStarted,
    TrialEnded,
)
from dgkd_search.callbacks.lines import LineProgress
from dgkd_search.callbacks.safe_stream import SafeStream
from dgkd_search.callbacks.state import (
    GAP,
    SearchState,
    replication_line,
    trial_outcome,
    trial_title,
)
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.errors.shown import shown_lines

# Importing rich takes 150 ms; commands without progress shouldn't pay for it.
if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.status import Status
    from rich.text import Text


_REFRESHES = 4  # per second
_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red"}


class LiveProgress(Callback):
    """A view of the search that is redrawn in place; permanent lines scroll above it.

    Args:
        stream: a terminal.
        clock: returns seconds from any origin.
        size: columns and rows; by default those of the terminal, also after it is resized.
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
        # If the view is on standard error, other prints to the terminal must not break it. A
        # redirected standard output stays untouched.
        self._owns_stderr = stream is sys.stderr
        self._console = Console(
            file=cast(IO[str], SafeStream(stream, keep_width=True)),
            force_terminal=True,
            force_jupyter=False,
            width=width,
            height=height,
        )
        # Events come from the driver's thread, redraws from rich's. Never print while holding it.
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._status: Status | None = None

    def wait(self) -> None:
        """Show a spinner until the search starts; messages scroll above it."""
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
                self._print("\n".join(shown_lines(text)))
            case SearchStarted():
                self._start()
            case ReplicationStarted(count):
                self._print(replication_line(count))
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
        # Otherwise an interrupted search could exit while rich's thread redraws.
        atexit.register(self.close)
        self._live.start(refresh=True)
        # Keep the cursor visible: SIGKILL would leave the terminal without one.
        self._console.show_cursor(True)

    def close(self) -> None:
        """End the view and restore the terminal; may be called twice."""
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
        from dgkd_search.callbacks.live_view import header_lines, trial_lines

        width = options.max_width
        with self._lock:
            summary, running = self.state.summary(), list(self.state.running.items())
        for line in (*header_lines(summary, width), *trial_lines(running, width)):
            line.truncate(width, overflow="ellipsis")
            yield line


def make_callback(quiet: bool, stream: TextIO | None = None) -> Callback:
    """Return the callback for a stream: a live view if it is a terminal, else plain lines.

    Args:
        quiet: whether the callback shows nothing.
        stream: standard error by default, as results go to standard output.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Callback()
    if stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        live = LiveProgress(stream)
        live.wait()
        return live
    return LineProgress(stream)
