from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
import time

import pytest
from helpers.screens import ENDS, TRIAL, Clock, Terminal, play, row, visible
from rich.cells import cell_len

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    SearchFinished,
    SearchStarted,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.lines import LineProgress
from dgkd_search.callbacks.terminal import LiveProgress, make_callback


class Broken(Terminal):
    """A stream whose reader closes it after ``good`` writes."""

    def __init__(self, error: Exception, good: int = 0) -> None:
        super().__init__()
        self.error, self.good, self.attempts = error, good, 0

    def write(self, text: str) -> int:
        self.attempts += 1
        if self.attempts > self.good:
            raise self.error
        return super().write(text)


def test_live_progress_prints_what_is_permanent_above_the_view(clock: Clock) -> None:
    out = Terminal()
    play(LiveProgress(out, clock=clock, size=(120, 30)), clock)
    assert "\x07" not in out.getvalue()
    lines = [line.rstrip() for line in visible(out.getvalue()).splitlines()]
    permanent = [line for line in lines if line in ENDS]
    assert permanent == ENDS
    assert {"preparing the data [bold]λ", "two", "lines"} < set(lines)
    assert lines[-2:] == [
        "2 of 3 trials (1 pruned, 1 failed) · best 97.56 % resnet32 > resnet20 > resnet8"
        " · 0:00:40 elapsed, about 20 s left",
        "stages: 3 trained, 1 cached",
    ]


@pytest.mark.parametrize("width", [40, 60, 120])
def test_no_line_is_longer_than_the_terminal(clock: Clock, width: int) -> None:
    out = Terminal()
    play(LiveProgress(out, clock=clock, size=(width, 30)), clock)
    lines = visible(out.getvalue()).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "[red]" in out.getvalue()


def test_finished_twice_prints_once(clock: Clock) -> None:
    out = Terminal()
    progress = LiveProgress(out, clock=clock, size=(60, 30))
    progress.notify(SearchFinished())
    assert out.getvalue() == ""
    progress.notify(SearchStarted(3, 1, None))
    progress.notify(SearchFinished())
    before = out.getvalue()
    progress.notify(SearchFinished())
    assert before and out.getvalue() == before


def test_rows_draw_nothing_by_themselves() -> None:
    out = Terminal()
    progress = LiveProgress(out, size=(60, 30))
    progress.notify(SearchStarted(3, 1, None))
    began, frames = time.monotonic(), out.getvalue().count("elapsed")
    progress.notify(TrialStarted(TRIAL))
    for epoch in range(1000):
        progress.notify(TrialUpdated(TRIAL, row("epoch", 1, epoch, epochs=1000)))
    drawn = out.getvalue().count("elapsed") - frames
    passed = time.monotonic() - began
    progress.notify(SearchFinished())
    assert drawn <= 1 + 4 * passed < 900


def test_view_redraws_itself() -> None:
    out = Terminal()
    progress = LiveProgress(out, size=(60, 30))
    progress.notify(SearchStarted(3, 1, None))
    progress.notify(TrialStarted(TRIAL))
    deadline = time.monotonic() + 20
    while "queued" not in out.getvalue() and time.monotonic() < deadline:
        time.sleep(0.02)
    seen = out.getvalue()
    progress.notify(SearchFinished())
    assert "queued" in seen


def test_cursor_is_visible_while_the_view_is(clock: Clock) -> None:
    out = Terminal()
    progress = LiveProgress(out, clock=clock, size=(60, 30))
    progress.notify(SearchStarted(3, 1, None))
    seen = out.getvalue()
    progress.notify(SearchFinished())
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l")


def test_terminal_without_utf8(clock: Clock) -> None:
    class Old(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    raw = io.BytesIO()
    progress = LiveProgress(Old(raw, encoding="ascii"), clock=clock, size=(60, 30))
    progress.notify(SearchStarted(3, 1, None))
    progress.notify(TrialStarted(TRIAL))
    progress.notify(TrialUpdated(TRIAL, row("epoch", 2, 6)))
    progress.log("λ")
    progress.notify(SearchFinished())
    lines = [line.rstrip() for line in visible(raw.getvalue().decode("ascii")).splitlines()]
    assert "#7 ~ resnet20 > resnet8  epoch 6/12   50.00 %  ###----" in lines
    assert "?" in lines


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.EIO, "gone"), ValueError("closed")]
)
@pytest.mark.parametrize("good", [0, 3])
def test_a_reader_that_leaves_does_not_end_the_search(
    clock: Clock, error: Exception, good: int
) -> None:
    for live in (False, True):
        out = Broken(error, good)
        play(LiveProgress(out, clock=clock, size=(60, 30)) if live else LineProgress(out), clock)
        assert out.attempts == good + 1  # no attempt after the first failure


def test_prints_of_others_appear_above_the_view(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr, stdout = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    progress = LiveProgress(stderr, clock=clock, size=(60, 30))
    progress.notify(SearchStarted(3, 1, None))
    print("a warning", file=sys.stderr)
    print("a result")
    progress.notify(SearchFinished())
    assert sys.stderr is stderr
    lines = [line.rstrip() for line in visible(stderr.getvalue()).splitlines()]
    assert lines.index("a warning") < len(lines) - 3
    assert stdout.getvalue() == "a result\n"


def test_make_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_callback(True, Terminal())) is Callback
    assert type(make_callback(False, io.StringIO())) is LineProgress
    for stream in (Terminal(), None):
        shown = stream or Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        observer = make_callback(False, stream)
        assert type(observer) is LiveProgress
        observer.notify(SearchFinished())
        assert "starting" in shown.getvalue(), "a sign of life, whatever is imported next"
        assert shown.getvalue().endswith("\x1b[1A\x1b[2K"), "and its line is emptied again"
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_callback(False)) is LineProgress


INTERRUPTED = """
import sys
from dgkd_search.callbacks.terminal import make_callback
from dgkd_search.callbacks.events import SearchStarted, TrialInfo, TrialStarted
print("rich.console" in sys.modules)
progress = make_callback(False)
progress.notify(SearchStarted(3, 1, None))
progress.notify(TrialStarted(TrialInfo(7, ("resnet20", "resnet8"), "dense", None)))
progress.log("now")
raise KeyboardInterrupt
"""


def test_interrupted_on_a_real_terminal_without_rich_imported_early() -> None:
    master, slave = pty.openpty()
    with (
        os.fdopen(master, "rb", 0) as reader,
        subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=slave
        ) as process,
    ):
        os.close(slave)
        shown = b""
        try:
            while chunk := reader.read(65536):
                shown += chunk
        except OSError:  # EIO is how Linux reports that the other side is closed
            pass
        assert process.stdout is not None
        stdout = process.stdout.read()
    text = visible(shown.decode())
    assert stdout == b"False\n"
    assert "queued" in text  # the live view was shown
    assert "Fatal" not in text
    # The last frame is drawn after the traceback and shows no running trials.
    end = text[text.rindex("KeyboardInterrupt") :]
    assert "0 of 3 trials" in end
    assert "queued" not in end[end.rindex("0 of 3 trials") :]
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
