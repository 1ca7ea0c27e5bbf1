"""The prepared chart of accuracy versus training cost.

``plot_cost.py`` draws it with matplotlib and ``report/charts.py`` with Altair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dgkd_search.results import looks
from dgkd_search.results.accuracy_data import AccuracyChart
from dgkd_search.results.looks import Look
from dgkd_search.results.marks import Best, Label, Side, place_label
from dgkd_search.results.pareto import pareto_front
from dgkd_search.results.points import TrialPoint
from dgkd_search.results.scales import Scale, make_scale
from dgkd_search.results.trial_row import TrialRow

COST_TITLE = "cost of training the chain from scratch (TFLOP)"

# Widths of labels as shares of the narrowest chart, that on a phone.
_BEST_WIDTH, _TRIAL_WIDTH = 0.36, 0.22


@dataclass(frozen=True)
class CostPoint:
    """A completed trial and the cost of training its chain from scratch, in TFLOP."""

    point: TrialPoint
    cost: float


@dataclass(frozen=True)
class CostLabel:
    """A text beside a point; the point of the best trial also has a star."""

    cost: float
    accuracy: float
    text: str
    side: Side
    best: bool


@dataclass(frozen=True)
class CostChart:
    """The content of the chart.

    Attributes:
        points: completed trials whose cost is known, by number.
        front: the Pareto front, cheapest first; drawn as the steps of a line.
        labels: labels of the best trial and of the points of the front that have room for one.
        kinds: looks of the points; ``looks`` are those of all marks, in the order of the legend.
    """

    points: tuple[CostPoint, ...]
    front: tuple[CostPoint, ...]
    labels: tuple[CostLabel, ...]
    x_scale: Scale
    y_scale: Scale
    kinds: tuple[Look, ...]

    @property
    def looks(self) -> tuple[Look, ...]:
        return (*self.kinds, looks.FRONT) if self.front else self.kinds


def cost_chart(rows: Sequence[TrialRow], chart: AccuracyChart) -> CostChart:
    """Prepare the chart of a study.

    Args:
        rows: the trials, by number.
        chart: the accuracy chart of the same trials, whose points and scale are used.
    """
    known = {
        point.trial: CostPoint(point, point.cost)
        for point in chart.points
        if point.completed and point.cost is not None
    }
    front = tuple(known[row.number] for row in pareto_front(rows) if row.number in known)
    costs = [each.cost for each in known.values()] or [0.0, 1.0]
    x_scale = make_scale(min(costs), max(costs), before=0.08, after=0.08)
    kinds = {each.point.kind for each in known.values()}
    return CostChart(
        points=tuple(known.values()),
        front=front,
        labels=tuple(_labels([*known.values()], front, chart.best, (x_scale, chart.scale))),
        x_scale=x_scale,
        y_scale=chart.scale,
        kinds=tuple(look for look in chart.kinds if look.label in kinds),
    )


def _labels(
    points: Sequence[CostPoint],
    front: Sequence[CostPoint],
    best: Best | None,
    scales: tuple[Scale, Scale],
) -> list[CostLabel]:
    """Place the label of the best, then those along the front from its ends, without overlaps."""

    def shares(each: CostPoint) -> tuple[float, float]:
        return scales[0].share(each.cost), scales[1].share(each.point.accuracy)

    first = [each for each in points if best is not None and each.point.trial == best.trial]
    ends = [front[i // 2 if i % 2 == 0 else -1 - i // 2] for i in range(len(front))]
    places = [shares(each) for each in points]
    places += _along([shares(each) for each in front])
    texts: list[CostLabel] = []
    labels: list[Label] = []
    for each in dict.fromkeys(first + ends):
        if each.point.accuracy < scales[1].low:
            continue
        text, width = f"trial {each.point.trial}", _TRIAL_WIDTH
        if best is not None and each in first:
            text, width = best.trial_label, _BEST_WIDTH
        label = place_label(shares(each), width, places, labels)
        if label is not None:
            at = each.cost, each.point.accuracy
            texts.append(CostLabel(*at, text, label.side, each in first))
            labels.append(label)
    return texts


def _along(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points on the line of the front, so that labels avoid it."""
    shares = [i / 10 for i in range(1, 11)]
    points: list[tuple[float, float]] = []
    for (x, y), (right, top) in pairwise(corners):
        points += [(x + share * (right - x), y) for share in shares]
        points += [(right, y + share * (top - y)) for share in shares]
    return points
