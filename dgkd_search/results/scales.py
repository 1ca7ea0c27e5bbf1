"""Ranges and ticks of axes, shared by the matplotlib figures and the charts of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_LEAST_SPAN = 1.0  # percentage points; a smaller span would magnify the noise of single images
_NEAR = 0.3  # share of the span by which pruned trials and intervals may widen the range
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low, high: values in this range are drawn at their position.
        start, end: limits of the axis, a little outside of ``low`` and ``high``.
        ticks: ascending, between start and end.
        decimals: number of decimals that the ticks need.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    decimals: int

    @property
    def tick_labels(self) -> list[str]:
        return [f"{tick:.{self.decimals}f}" for tick in self.ticks]

    def share(self, value: float) -> float:
        """Return the position of a value, from 0 at the start to 1 at the end, clamped."""
        return min(max((value - self.start) / (self.end - self.start), 0.0), 1.0)

    def at(self, share: float) -> float:
        """Return the value at a position; the inverse of ``share``."""
        return self.start + share * (self.end - self.start)


def make_scale(
    low: float,
    high: float,
    *,
    before: float,
    after: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Scale:
    """Create a scale with margins and with ticks at round numbers.

    Args:
        before, after: margins, as shares of the span from ``low`` to ``high``.
        bounds: no tick lies outside of these; percentages end at 0 and 100.
    """
    span = (high - low) or 1.0
    start, end = low - before * span, high + after * span
    ticks = round_numbers(max(start, bounds[0]), min(end, bounds[1]))
    return Scale(low, high, start, end, ticks, _decimals(ticks))


def round_numbers(start: float, end: float, at_most: int = 9) -> tuple[float, ...]:
    """Return at most ``at_most`` ticks: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    least = (end - start) / (at_most - 1)
    if not least > 0:
        return (start,)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    return tuple(float(f"{i * step:.10g}") for i in range(first, last + 1))


def _decimals(ticks: Sequence[float]) -> int:
    texts = [f"{tick:.10f}".rstrip("0") for tick in ticks]
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def accuracy_limits(
    completed: Iterable[float],
    pruned: Iterable[float],
    reference: float | None,
    teacher: float | None,
    intervals: Iterable[float] = (),
) -> tuple[float, float]:
    """Return the range of accuracies, in percent, that a chart shows.

    The range covers the completed trials, except collapsed ones (more than five robust standard
    deviations below the median). Pruned trials, reference lines and ends of intervals widen it only
    a little, so that one wide interval does not compress all points. Values outside the range are
    marked at the edge of the chart.

    Args:
        intervals: ends of all intervals.
    """
    values, others = np.sort([*completed]), np.sort([*pruned])
    lines = [value for value in (reference, teacher) if value is not None]
    if not len(values):
        everything = [*others, *lines] or [0.0, 100.0]
        return _at_least(min(everything), max(everything))
    middle = float(np.median(values))
    deviation = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SPAN / 4)
    low, high = _at_least(float(values[values >= middle - 5 * deviation][0]), float(values[-1]))
    # All trials are compared with labels alone, so that line may widen the range more.
    for value, room in ((reference, 3.0), (teacher, 2.0)):
        if value is not None and max(high, value) - min(low, value) <= room * (high - low):
            low, high = min(low, value), max(high, value)
    room = _NEAR * (high - low)
    near = [value for value in others if value >= low - room]
    near += [end for end in intervals if low - room <= end <= high + room]
    return float(min([low, *near])), float(max([high, *near]))


def _at_least(low: float, high: float) -> tuple[float, float]:
    missing = max(_LEAST_SPAN - (high - low), 0.0)
    return low - missing / 2, high + missing / 2
