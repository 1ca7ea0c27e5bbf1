"""A clock and a terminal for drawing a search."""

from __future__ import annotations

import io
import re

from helpers.progress import progress as made_up
from rich.cells import cell_len
from rich.console import Console

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    SearchFinished,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialOutcome,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.terminal import LiveProgress
from dgkd_search.distillation.progress import ProgressEvent, TrialProgress

CHAIN = ("resnet32", "resnet20", "resnet8")


TRIAL = TrialInfo(7, CHAIN, "dense", 0.25)


OTHER = TrialInfo(
    8, ("resnet110", "resnet56", "resnet32", "resnet20", "resnet8"), "sequential", None
)


ALONE = TrialInfo(None, ("resnet8",), "none", None)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(
    event: ProgressEvent,
    position: int,
    epoch: int = 0,
    val_accuracy: float = 50.0,
    stages: int = 3,
    epochs: int = 12,
) -> TrialProgress:
    return made_up(
        epoch,
        None if event == "waiting" else val_accuracy,
        event=event,
        stage=CHAIN[position],
        position=position,
        stages=stages,
        epochs=epochs,
    )


def visible(text: str) -> str:
    """Remove colors and cursor movements; a cursor that moves back begins a new line."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", "\n"))


def view(progress: LiveProgress, width: int) -> list[str]:
    """Return the live area as a terminal of that width shows it."""
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=width, height=50).print(progress)
    lines = [line.rstrip() for line in visible(out.getvalue()).splitlines()]
    assert all(cell_len(line) <= width for line in lines)
    return lines


def busy(clock: Clock) -> LiveProgress:
    """Return a state with seven finished and three running trials; it is not drawn by itself."""
    progress = LiveProgress(Terminal(), clock=clock, size=(200, 50))
    progress.state.update(SearchStarted(20, 2, None))
    ends: list[tuple[int, TrialOutcome, float | None]] = [
        (0, "complete", 96.0),
        (1, "complete", 97.56),
        (2, "complete", 97.0),
        (3, "complete", 90.0),
        (4, "pruned", 99.0),
        (5, "pruned", 95.0),
        (6, "failed", None),
    ]
    for number, state, value in ends:
        progress.state.update(
            TrialEnded(TrialInfo(number, CHAIN, "dense", None), state, value, None)
        )
    clock.now += 70 * 60
    for job in (TRIAL, OTHER, ALONE):
        progress.notify(TrialStarted(job))
    progress.notify(TrialUpdated(TRIAL, row("replayed", 0, 12, val_accuracy=98.0)))
    progress.notify(TrialUpdated(TRIAL, row("epoch", 1, 3, val_accuracy=95.125)))
    progress.notify(TrialUpdated(OTHER, row("waiting", 1)))
    return progress


def play(progress: Callback, clock: Clock) -> None:
    progress.log("preparing the data [bold]λ")
    progress.notify(SearchStarted(3, 1, None))
    progress.notify(TrialStarted(ALONE))
    progress.notify(TrialUpdated(ALONE, made_up(1, 90.0, position=0, stages=1, epochs=12)))
    clock.now += 20
    progress.notify(TrialEnded(ALONE, "complete", 95.2, None))
    progress.notify(TrialStarted(TRIAL))
    progress.notify(TrialUpdated(TRIAL, row("replayed", 0, 12, val_accuracy=98.0)))
    progress.notify(TrialUpdated(TRIAL, row("waiting", 1)))
    progress.notify(TrialUpdated(TRIAL, row("epoch", 1, 1, val_accuracy=97.0)))
    for epoch in (1, 2):
        progress.notify(TrialUpdated(TRIAL, row("epoch", 2, epoch, val_accuracy=95.0)))
    clock.now += 20
    progress.notify(TrialEnded(TRIAL, "pruned", 95.0, None))
    progress.notify(TrialStarted(OTHER))
    progress.notify(TrialEnded(OTHER, "failed", None, "a \x1b[31m[red]\nbad\x07 [/]"))
    progress.notify(TrialStarted(TrialInfo(9, CHAIN, "dense", 0.0)))
    progress.notify(TrialEnded(TrialInfo(9, CHAIN, "dense", 0.0), "complete", 97.56, None))
    progress.log("two\nlines")
    progress.notify(SearchFinished())
    progress.notify(SearchFinished())


ENDS = [
    "labels alone resnet8  complete  95.20 %",
    "#7 resnet32 > resnet20 > resnet8  drop 0.25  pruned at epoch 2 (95.00 %)",
    "#8 resnet110 > resnet56 > resnet32 > resnet20 > resnet8  sequential  "
    r"failed: a [red] bad\x07 [/]",
    "#9 resnet32 > resnet20 > resnet8  drop 0  complete  97.56 %",
]
