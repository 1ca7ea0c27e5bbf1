"""Marks of charts other than single trials: intervals, lines, the star, labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dgkd_search.results.scales import Scale

# With one degree of freedom, Student's factor is 12.7: an interval of two values carries little
# information and would hide all other marks.
INTERVAL_VALUES = 3
BEST_LABEL_WIDTH = 0.42  # of the star's label, as a share of the narrowest chart, on a phone

Side = Literal["right", "left", "above right", "above left", "above", "below"]
Align = Literal["top", "middle", "bottom"]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, clipped to the scale.

    Attributes:
        span: the ends that are drawn; None if no interval is drawn.
        goes_below, goes_above: whether the interval extends beyond the scale.
        words: its tooltip: what it is, with its numbers.
    """

    x: float
    mean: float
    span: tuple[float, float] | None
    goes_below: bool
    goes_above: bool
    words: str

    @property
    def caps(self) -> list[float]:
        """The ends of the interval that are within the scale."""
        if self.span is None:
            return []
        low, high = self.span
        return [low] * (not self.goes_below) + [high] * (not self.goes_above)


@dataclass(frozen=True)
class CountBest:
    """The best accuracy for a number of assistants: a line from ``left`` to ``right``."""

    left: float
    right: float
    accuracy: float


@dataclass(frozen=True)
class EdgeMark:
    """A mark at the bottom edge for values below the scale; ``words`` is its tooltip."""

    x: float
    y: float
    kind: str
    text: str
    words: str


@dataclass(frozen=True)
class ReferenceLine:
    """A horizontal line that trials are compared with.

    Attributes:
        y: height of the label, within the scale.
        visible: whether the line is within the scale and is drawn.
        dash: lengths of a dash and a gap, in points.
        label: the two lines of the label.
        align: the part of the label that is at ``y``.
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
    """Prepare the interval of a mean; with fewer than ``INTERVAL_VALUES`` values it has no span.

    Args:
        place: position of the mean.
        half: half width of the interval; None or NaN if there is none.
        count: number of values.
        words: name of the mean.
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
    """A label beside a mark: its side, and its box in shares of the chart."""

    side: Side
    box: tuple[float, float, float, float]


def place_label(
    point: tuple[float, float],
    width: float,
    others: Sequence[tuple[float, float]],
    labels: Sequence[Label] = (),
) -> Label | None:
    """Place the label of a mark on the side where it hides the fewest points.

    Args:
        point: position of the mark, in shares of the chart's width and height.
        width: width of the label, as a share of the narrowest chart.
        others: positions of all points, likewise.
        labels: labels that are already placed; no two overlap.

    Returns:
        The label; None if there is no room for it.
    """
    gap, height = 0.04, 0.07
    x, y = point
    # Each box begins at the mark: the offset of the text depends on the drawing library.
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
