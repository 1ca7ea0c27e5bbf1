"""Progress in a notebook: one output below the cell, which is updated in place."""

from __future__ import annotations

import html
import io
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    Event,
    SearchFinished,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.lines import LineProgress
from dgkd_search.callbacks.terminal import LiveProgress

_EVERY = 0.25  # seconds between two updates
_LINES = 12  # the latest lines that stay visible
_WIDTH = 100  # columns
_STYLE = "white-space: pre; font-family: monospace; font-size: 85%; line-height: 1.35; margin: 0"


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookProgress(Callback):
    """Shows the latest lines of a search, and its running trials below them, in one output.

    Args:
        show: is called with HTML: first to create the output, later to replace its content. By
            default IPython's ``display``.
        clock: returns seconds from any origin.
    """

    def __init__(
        self,
        show: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show = show or _display()
        self._clock = clock
        self._drawn = float("-inf")
        self._lines_shown: deque[str] = deque(maxlen=_LINES)
        self._lines = LineProgress(_QueueStream(self._lines_shown), clock=clock)
        self._view = LiveProgress(io.StringIO(), clock=clock, size=(_WIDTH, 100))
        self._begun = False

    def notify(self, event: Event) -> None:
        if isinstance(event, TrialUpdated):
            self._lines.state.update(event)  # without a line: the view shows the stage
        else:
            self._lines.notify(event)
        self._view.state.update(event)
        if isinstance(event, SearchFinished):
            self._view.state.running.clear()
        self._begun |= isinstance(event, SearchStarted)
        if not isinstance(event, SearchResumed):
            # Events of trials are frequent; the next update shows them.
            self._draw(at_once=not isinstance(event, TrialStarted | TrialUpdated | TrialEnded))

    def _draw(self, at_once: bool = False) -> None:
        now = self._clock()
        if not at_once and now - self._drawn < _EVERY:
            return
        self._drawn = now
        text = html.escape("".join(self._lines_shown))
        self._show(f'<div style="{_STYLE}">{text}{self._running() if self._begun else ""}</div>')

    def _running(self) -> str:
        """Return the live view as HTML, with its colors."""
        from rich.console import Console

        console = Console(
            file=io.StringIO(), record=True, width=_WIDTH, force_terminal=True, force_jupyter=False
        )
        console.print(self._view)
        return "\n" + console.export_html(inline_styles=True, code_format="{code}")


class _QueueStream(io.StringIO):
    """A stream that appends its lines to a queue."""

    def __init__(self, lines: deque[str]) -> None:
        super().__init__()
        self._lines = lines

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)


def _display() -> Callable[[str], object]:
    from IPython.display import HTML, display

    handle: list[Any] = []

    def show(page: str) -> None:
        if handle:
            handle[0].update(HTML(page))
        else:
            handle.append(display(HTML(page), display_id=True))

    return show
