"""What the live view of a search draws: a header, and a line for each running trial.

rich has parts for such views, and these are drawn without them. Its progress bars estimate one
task by that task's own speed: the time left of a search depends on trials side by side, earlier
sessions, replicates and a time budget (``SearchState.remaining``). What is left of its bar can't
be seen without colors. Laid out by its table, the same lines take three times as long (measured:
34 instead of 11 ms for 15 trials, four times a second beside the training). Importing this module
imports rich.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from dgkd_search.callbacks.base import arrows, trial_label
from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.callbacks.state import GAP
from dgkd_search.distillation.progress import TrialProgress

_WITH_BAR = 60  # columns below which the bar is dropped,
_WITH_ACCURACY = 40  # and those below which the accuracy is


def header_lines(phrases: list[str], width: int) -> Iterator[Text]:
    """The phrases on as few lines as hold them."""
    line = Text()
    for phrase in phrases:
        if line and line.cell_len + 3 + len(phrase) > width:
            yield line
            line = Text()
        line.append(" · " if line else "", "dim").append(phrase, "" if line else "bold")
    yield line


def trial_lines(
    running: list[tuple[TrialInfo, TrialProgress | None]], width: int
) -> Iterator[Text]:
    """A line for each running trial: title, status, and where there is room, accuracy and bar."""
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
