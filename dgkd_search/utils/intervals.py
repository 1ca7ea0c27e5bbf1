"""95 % intervals of means by Student's t, and of differences of means by Welch's (Biometrika 34,
1947)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_LEVEL = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Return half the width of the interval of the mean; None for a single value."""
    count = len(values)
    if count < 2:
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return _quantile(count - 1) * error


def plus_minus(mean: float, half: float | None, sign: str = "") -> str:
    """Format a mean with half of its interval, as ``52.31 ± 0.42``.

    Args:
        sign: ``"+"`` to show the sign of a positive mean, for gains.
    """
    return f"{mean:{sign}.2f}" + (f" ± {half:.2f}" if half is not None else "")


def difference(ones: Sequence[float], others: Sequence[float]) -> tuple[float, float | None]:
    """Return the difference of two means, and half the width of its interval.

    The samples may differ in size and variance. The half width is None if a sample has a single
    value, or if neither varies.
    """
    gap = float(np.mean(ones)) - float(np.mean(others))
    if min(len(ones), len(others)) < 2:
        return gap, None
    one, other = (float(np.var(values, ddof=1)) / len(values) for values in (ones, others))
    if one + other == 0:  # accuracies on few images may be equal by chance
        return gap, None
    share = one / (one + other)
    freedom = 1 / (share**2 / (len(ones) - 1) + (1 - share) ** 2 / (len(others) - 1))
    return gap, _quantile(freedom) * math.sqrt(one + other)


def _quantile(freedom: float) -> float:
    """Return the two-sided quantile of Student's t at the level."""
    # Not scipy.stats: ttest_1samp and ttest_ind warn if values hardly vary, as accuracies on few
    # images do, and their intervals differ in the last bits (measured: by up to 1.4e-13 of the
    # width), which best.yaml stores. t.interval has the same bits, but NaN if values don't vary.
    # Importing scipy.stats also takes 0.5 to 0.9 s more than the 0.2 s of this import.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + _LEVEL) / 2))
