"""The prepared chart of accuracy versus number of assistants.

``plot.py`` draws it with matplotlib and ``report/charts.py`` with Altair. The marks, their
positions, looks and texts are defined here only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dgkd_search.results import looks
from dgkd_search.results.counts import CountSummary, accuracy_by_count
from dgkd_search.results.looks import Look
from dgkd_search.results.marks import (
    BEST_LABEL_WIDTH,
    INTERVAL_VALUES,
    Align,
    Best,
    CountBest,
    EdgeMark,
    Interval,
    ReferenceLine,
    make_interval,
    place_label,
)
from dgkd_search.results.points import (
    CLOUD,
    BaselinePoint,
    Replicates,
    TrialPoint,
    legend,
    trial_points,
)
from dgkd_search.results.scales import Scale, accuracy_limits, make_scale
from dgkd_search.results.trial_row import TrialRow

COUNT_TITLE = ("number of assistants", "(n = completed trials)")
NOTHING_COMPLETED = "no trial has completed yet"

_MEAN = 0.24  # offset of a count's mean from the middle of its column
_REACH = (-0.32, 0.32)  # ends of the line at a count's best, likewise
_MARGINS = (-0.6, 0.6)  # of the horizontal axis, from its first and last column
_BASELINE_X = -0.75  # position of the star of labels alone, left of the column of no assistants
_BASELINE_MARGIN = -1.1  # the left margin, with room for that star
_ROWS = (0.03, 0.08, 0.13)  # heights of the three rows of edge marks, as shares of the axis
_MAX_TICKS = 11


@dataclass(frozen=True)
class AccuracyChart:
    """The content of the chart.

    Attributes:
        points: every trial that ended and has an accuracy, by number; ``shown`` are those within
            the scale.
        completed: number of completed trials for each number of assistants, from 0.
        count_ticks: numbers of assistants that have a tick.
        kinds: looks of the points; ``looks`` are those of all marks, in the order of the legend.
    """

    points: tuple[TrialPoint, ...]
    replicates: tuple[Interval, ...]
    means: tuple[Interval, ...]
    count_bests: tuple[CountBest, ...]
    edge_marks: tuple[EdgeMark, ...]
    lines: tuple[ReferenceLine, ...]
    best: Best | None
    scale: Scale
    completed: tuple[int, ...]
    count_ticks: tuple[int, ...]
    kinds: tuple[Look, ...]

    @property
    def count_range(self) -> tuple[float, float]:
        """Limits of the horizontal axis."""
        baseline = self.best is not None and self.best.trial is None
        return _count_range(len(self.completed) - 1, baseline=baseline)

    @property
    def completed_points(self) -> list[TrialPoint]:
        return [point for point in self.points if point.completed]

    @property
    def shown(self) -> list[TrialPoint]:
        return [point for point in self.points if point.accuracy >= self.scale.low]

    @property
    def looks(self) -> tuple[Look, ...]:
        edges = {mark.kind for mark in self.edge_marks}
        kinds = {point.kind for point in self.shown}
        below = (looks.COMPLETED_BELOW, looks.PRUNED_BELOW, looks.MEAN_BELOW)
        return (
            *(look for look in self.kinds if look.label in kinds),
            *(look for look in below if look.label in edges),
            *((looks.REPLICATES,) if self.replicates else ()),
            *((looks.COUNT_BEST,) if self.count_bests else ()),
            *((looks.COUNT_MEAN,) if self.means else ()),
        )

    @property
    def notes(self) -> list[str]:
        """Remarks on the intervals that are drawn."""
        intervals, notes = [*self.replicates, *self.means], []
        if any(each.span is None for each in intervals):
            notes.append(f"Intervals need at least {INTERVAL_VALUES} values.")
        if any(each.goes_below or each.goes_above for each in intervals):
            notes.append("An arrowhead marks an interval that extends beyond the scale.")
        return notes


def accuracy_chart(
    rows: Sequence[TrialRow],
    *,
    best: int | BaselinePoint | None,
    reference: float | None,
    teacher: float | None,
) -> AccuracyChart:
    """Prepare the chart of a study.

    Args:
        rows: the trials, by number.
        best: number of the best trial, or the student trained on labels alone if that is best.
        reference: validation accuracy in percent of the student trained on labels alone.
        teacher: validation accuracy in percent of the teacher.
    """
    points, counts = trial_points(rows), accuracy_by_count(rows)
    baseline = best if isinstance(best, BaselinePoint) else None
    replicated = [point.replicates for point in points]
    replicated.append(baseline.replicates if baseline is not None else None)
    scale = _scale(points, counts, replicated, _finite(reference), _finite(teacher))
    completed = {each.assistants: each.completed for each in counts}
    most = max((point.assistants for point in points), default=0)
    step = -(-(most + 1) // _MAX_TICKS)
    return AccuracyChart(
        points=points,
        replicates=tuple(_replicates(points, baseline, scale)),
        means=tuple(_means(counts, scale)),
        count_bests=tuple(
            CountBest(each.assistants + _REACH[0], each.assistants + _REACH[1], each.best)
            for each in counts
            if each.best >= scale.low
        ),
        edge_marks=tuple(_edge_marks(points, counts, scale)),
        lines=tuple(_lines(scale, _finite(reference), _finite(teacher))),
        best=_best(points, best, scale, most),
        scale=scale,
        completed=tuple(completed.get(count, 0) for count in range(most + 1)),
        count_ticks=tuple(range(0, most + 1, step)),
        kinds=legend(rows),
    )


def _count_range(most: int, *, baseline: bool) -> tuple[float, float]:
    left, right = _MARGINS
    return _BASELINE_MARGIN if baseline else left, most + right


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _scale(
    points: Sequence[TrialPoint],
    counts: Sequence[CountSummary],
    replicated: Iterable[Replicates | None],
    reference: float | None,
    teacher: float | None,
) -> Scale:
    """Return the accuracy axis: it shows all means, and no interval compresses the points."""
    completed = [point.accuracy for point in points if point.completed]
    again = [each for each in replicated if each is not None]
    spans = [
        *((each.mean, each.half_width, each.count) for each in again),
        *((each.mean, each.half_width, each.completed) for each in counts),
    ]
    ends = [
        mean + sign * half
        for mean, half, count in spans
        if half is not None and count >= INTERVAL_VALUES
        for sign in (-1, 1)
    ]
    pruned = [point.accuracy for point in points if not point.completed]
    means = [each.mean for each in again]
    low, high = accuracy_limits([*completed, *means], pruned, reference, teacher, ends)
    below = min([*completed, *pruned, *(each.mean for each in counts)], default=low) < low
    return make_scale(low, high, before=0.2 if below else 0.08, after=0.1, bounds=(0.0, 100.0))


def _replicates(
    points: Iterable[TrialPoint], baseline: BaselinePoint | None, scale: Scale
) -> Iterable[Interval]:
    """Yield the means with fresh seeds, each at the position of its trial or star."""
    known = [(point.x, f"trial {point.trial}", point.replicates) for point in points]
    if baseline is not None:
        known.append((_BASELINE_X, "labels alone", baseline.replicates))
    for x, name, again in known:
        if again is not None and again.mean >= scale.low:
            words = f"{name}, mean of {again.count} fresh seeds"
            yield make_interval((x, again.mean), again.half_width, again.count, words, scale)


def _means(counts: Iterable[CountSummary], scale: Scale) -> Iterable[Interval]:
    for each in counts:
        if each.mean >= scale.low:
            place = each.assistants + _MEAN, each.mean
            words = _mean_words(each)
            yield make_interval(place, each.half_width, each.completed, words, scale)


def _mean_words(count: CountSummary) -> str:
    return f"mean of {count.completed} trials with {count.assistants} assistants"


def _edge_marks(
    points: Iterable[TrialPoint], counts: Iterable[CountSummary], scale: Scale
) -> Iterable[EdgeMark]:
    """Yield marks for trials and means below the scale; each kind has its own row."""
    below: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for point in points:
        if point.accuracy < scale.low:
            below[point.completed, point.assistants].append(point.trial)
    kinds = {True: looks.COMPLETED_BELOW.label, False: looks.PRUNED_BELOW.label}
    for (completed, count), trials in sorted(below.items()):
        words = f"below the scale: trial {', '.join(map(str, trials))}"
        y = scale.at(_ROWS[0 if completed else 1])
        yield EdgeMark(count + CLOUD, y, kinds[completed], str(len(trials)), words)
    for each in counts:
        if each.mean < scale.low:
            words = f"{_mean_words(each)}: {each.mean:.2f} %"
            place = each.assistants + _MEAN, scale.at(_ROWS[2])
            yield EdgeMark(*place, looks.MEAN_BELOW.label, f"{each.mean:.1f}", words)


def _lines(scale: Scale, reference: float | None, teacher: float | None) -> Iterable[ReferenceLine]:
    """Yield the lines of labels alone and of the teacher; their labels are right of the axes."""
    named = (("labels alone", reference, (6.5, 2.6)), ("teacher", teacher, (1.3, 1.6)))
    known = sorted((value, name, dash) for name, value, dash in named if value is not None)
    heights = [min(max(value, scale.low), scale.high) for value, _, _ in known]
    sides: list[Align] = ["middle"] * len(known)
    if len(known) == 2 and scale.share(heights[1]) - scale.share(heights[0]) < 0.13:
        sides = ["top", "bottom"]  # the labels would overlap
    for (value, name, dash), height, side in zip(known, heights, sides, strict=True):
        arrow = " ↑" if value > scale.high else " ↓" if value < scale.low else ""
        yield ReferenceLine(height, not arrow, dash, (f"{name}{arrow}", f"{value:.2f} %"), side)


def _best(
    points: Sequence[TrialPoint], best: int | BaselinePoint | None, scale: Scale, most: int
) -> Best | None:
    point = next((point for point in points if point.trial == best), None)
    trial: int | None
    models: tuple[str, ...]
    if isinstance(best, BaselinePoint):
        trial, x, models, name = None, _BASELINE_X, (best.model,), "labels alone"
        own, again = best.accuracy, best.replicates
    elif point is not None:
        trial, x, models = point.trial, point.x, point.models
        name = f"trial {trial}, {_method(point)}"
        own, again = point.accuracy, point.replicates
    else:
        return None
    accuracy = own if again is None else again.mean
    y = min(max(accuracy, scale.low), scale.high)
    seeds = "" if again is None else f" (mean of {again.count} seeds)"
    label = f"best {accuracy:.2f} %"
    left, right = _count_range(most, baseline=trial is None)

    def shares(x: float, y: float) -> tuple[float, float]:
        return (x - left) / (right - left), scale.share(y)

    others = [shares(each.x, each.accuracy) for each in points]
    beside = place_label(shares(x, y), BEST_LABEL_WIDTH, others)
    return Best(
        trial=trial,
        x=x,
        y=y,
        accuracy=own,
        label=label,
        trial_label=label if again is None else f"trial {trial}: {own:.2f} %",
        side=beside.side if beside is not None else "above",
        headline=f"best: {accuracy:.2f} %{seeds}, {name}",
        models=models,
    )


def _method(point: TrialPoint) -> str:
    if point.assistants:
        return point.guidance
    return "plain KD" if point.taught else "labels alone"
