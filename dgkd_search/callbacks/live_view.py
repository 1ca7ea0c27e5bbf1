"""The lines of the live view: a header, and a line for each running trial.

The view uses neither the progress bars nor the tables of rich. Its bars estimate a task by the
task's own speed, but the time left depends on concurrent trials, earlier sessions, replicates and
a time budget (``SearchState.remaining``); and the rest of such a bar is invisible without colors.
Its tables take three times as long for the same lines (measured: 34 instead of 11 ms for 15
trials, four times a second during training). Importing this module imports rich.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from dgkd_search.callbacks.base import arrows, trial_label
from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.callbacks.state import GAP
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.errors.shown import shown

_WITH_BAR = 60  # a narrower view has no bar,
_WITH_ACCURACY = 40  # and one narrower than this no accuracy


def header_lines(phrases: list[str], width: int) -> Iterator[Text]:
    """Break the phrases into as few lines as possible."""
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
    """Return a line per running trial: title, status and, if they fit, accuracy and bar."""
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
        return f"waiting for {shown(progress.stage)}"
    return f"epoch {progress.epoch}/{progress.epochs}"


def _current(trial: TrialInfo, progress: TrialProgress | None, room: int) -> Text:
    """Return the chain, the current model emphasized; models before it are cut if need be."""
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
        title.append(shown(model), "bold cyan" if progress is not None and position == at else "")
    return title
