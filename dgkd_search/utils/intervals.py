"""95 % intervals of means by Student's t, and of differences of means by Welch's (Biometrika 34,
1947)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_LEVEL = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the interval of the mean; None for a single value."""
    count = len(values)
    if count < 2:
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return _quantile(count - 1) * error


def plus_minus(mean: float, half: float | None, sign: str = "") -> str:
    """A mean with half of its interval, as ``52.31 ± 0.42``; ``sign="+"`` shows that of a gain."""
    return f"{mean:{sign}.2f}" + (f" ± {half:.2f}" if half is not None else "")


def difference(ones: Sequence[float], others: Sequence[float]) -> tuple[float, float | None]:
    """Difference of two means, and half the width of its interval.

    The samples may differ in size and variance. None where either has a single value, or neither
    varies.
    """
    gap = float(np.mean(ones)) - float(np.mean(others))
    if min(len(ones), len(others)) < 2:
        return gap, None
    one, other = (float(np.var(values, ddof=1)) / len(values) for values in (ones, others))
    if one + other == 0:  # of accuracies on few images: it proves nothing
        return gap, None
    share = one / (one + other)
    freedom = 1 / (share**2 / (len(ones) - 1) + (1 - share) ** 2 / (len(others) - 1))
    return gap, _quantile(freedom) * math.sqrt(one + other)


def _quantile(freedom: float) -> float:
    """Of Student's t, for both sides of the level."""
    # Not scipy.stats, though it has both intervals: ttest_1samp and ttest_ind warn where values
    # hardly vary, as accuracies on few images do, and half of their intervals has other last bits
    # (measured: by up to 1.4e-13 of it), which best.yaml notes. t.interval has the same bits, but
    # NaN where nothing varies. And its import takes 0.5 to 0.9 s more than the 0.2 s of this one.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + _LEVEL) / 2))
