"""Marks of charts that stand for more than one trial, or for the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dgkd_search.results.scales import Scale

# With one degree of freedom Student's factor is 12.7: an interval of two values says little but
# how many there are, and hides all others. A chart shows the values themselves.
INTERVAL_VALUES = 3
BEST_LABEL_WIDTH = 0.42  # of the best's accuracy, as a share of a chart on a telephone

Side = Literal["right", "left", "above right", "above left", "above", "below"]
Align = Literal["top", "middle", "bottom"]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, cut off where the scale ends.

    Attributes:
        span: where it is drawn from and to; None where no interval is drawn.
        goes_below, goes_above: whether it goes on beyond the scale.
        words: what it is, with its numbers.
    """

    x: float
    mean: float
    span: tuple[float, float] | None
    goes_below: bool
    goes_above: bool
    words: str

    @property
    def caps(self) -> list[float]:
        """Its true ends, of those in sight."""
        if self.span is None:
            return []
        low, high = self.span
        return [low] * (not self.goes_below) + [high] * (not self.goes_above)


@dataclass(frozen=True)
class CountBest:
    """The best trial of a number of assistants: a line from ``left`` to ``right``."""

    left: float
    right: float
    accuracy: float


@dataclass(frozen=True)
class EdgeMark:
    """A mark at the bottom for what lies below the scale; ``words`` say what."""

    x: float
    y: float
    kind: str
    text: str
    words: str


@dataclass(frozen=True)
class ReferenceLine:
    """What trials are compared with.

    Attributes:
        y: where its label stands, which is within the scale.
        visible: whether the line itself is.
        dash: lengths of its dashes and gaps, in points.
        label: its lines.
        align: which part of the label stands at ``y``.
    """

    y: float
    visible: bool
    dash: tuple[float, float]
    label: tuple[str, str]
    align: Align


@dataclass(frozen=True)
class Best:
    """The star at the best trial, or at the student trained on labels alone if that is best.

    Attributes:
        trial: number of the trial; None for labels alone.
        x, y: position of the star; ``y`` is the mean of fresh seeds if there are any.
        accuracy: of the search's own run.
        label: label of the star.
        trial_label: label of a trial's star at ``accuracy`` instead of ``y``.
        side: side of the star that the label is on.
        headline: accuracy, trial number and guidance.
    """

    trial: int | None
    x: float
    y: float
    accuracy: float
    label: str
    trial_label: str
    side: Side
    headline: str
    models: tuple[str, ...]


def make_interval(
    place: tuple[float, float], half: float | None, count: int, words: str, scale: Scale
) -> Interval:
    """The interval of a mean as far as it is drawn: of too few values not at all.

    Args:
        place: where the mean is, on both axes.
        half: half of its width; None or NaN where there is none.
        count: of the values.
        words: what the mean is of.
    """
    x, mean = place
    if half is None or math.isnan(half) or count < INTERVAL_VALUES:
        return Interval(x, mean, None, False, False, f"{words}: {mean:.2f} %")
    bottom, top = scale.at(0.015), scale.at(0.985)
    low, high = mean - half, mean + half
    words = f"{words}: {mean:.2f} ± {half:.2f} %"
    span = max(low, bottom), min(high, top)
    return Interval(x, mean, span, low < bottom, high > top, words)


@dataclass(frozen=True)
class Label:
    """A label beside a mark: its side, and the box that it takes in shares of the chart."""

    side: Side
    box: tuple[float, float, float, float]


def place_label(
    point: tuple[float, float],
    width: float,
    others: Sequence[tuple[float, float]],
    labels: Sequence[Label] = (),
) -> Label | None:
    """The label of a mark, on the side on which it hides the fewest points.

    Args:
        point: where the mark is, in shares of the chart's width and height.
        width: of the label, as a share of the narrowest chart, which a telephone shows.
        others: where all points are.
        labels: placed before; no two overlap.

    Returns:
        None where there is no room for it.
    """
    gap, height = 0.04, 0.07
    x, y = point
    # Each begins at the mark: how far from it the text begins depends on what draws it.
    boxes: dict[Side, tuple[float, float, float, float]] = {
        "above right": (x, x + width, y, y + gap + height),
        "above left": (x - width, x, y, y + gap + height),
        "right": (x, x + gap + width, y - height / 2, y + height / 2),
        "left": (x - gap - width, x, y - height / 2, y + height / 2),
        "above": (x - width / 2, x + width / 2, y, y + gap + height),
        "below": (x - width / 2, x + width / 2, y - gap - height, y),
    }

    def outside(side: Side) -> float:
        left, right, low, high = boxes[side]
        return round(max(-left, right - 1, -low, high - 1, 0.0), 3)

    def hidden(side: Side) -> int:
        left, right, low, high = boxes[side]
        return sum(left <= px <= right and low <= py <= high for px, py in others)

    free = [side for side in boxes if not any(_overlap(boxes[side], o.box) for o in labels)]
    side = min(free, key=lambda each: (outside(each), hidden(each)), default=None)
    return None if side is None else Label(side, boxes[side])


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
