from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem, t, ttest_ind

from dgkd_search.utils.intervals import difference, half_width

VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=12)


def test_half_width_against_the_table_of_student() -> None:
    # Standard deviation 1 over four values; t(0.975, 3) = 3.182.
    spread = math.sqrt(3) / 2
    values = [50 - spread, 50 - spread, 50 + spread, 50 + spread]
    assert half_width(values) == pytest.approx(3.182 / 2, abs=1e-3)


def test_a_single_value_has_no_interval() -> None:
    assert half_width([97.0]) is None
    gap, half = difference([97.0], [96.0, 95.0])
    assert (gap, half) == (1.5, None)


def test_welch_by_hand() -> None:
    # Variances 1 and 4 over 3 and 3: error sqrt(5/3), freedom (5/3)^2 / ((1/9 + 16/9) / 2).
    ones, others = [1.0, 2.0, 3.0], [0.0, 2.0, 4.0]
    gap, half = difference(ones, others)
    assert gap == 0
    assert half is not None
    # t(0.975, 2.941) lies between those of 2 and 3 degrees: 4.303 and 3.182.
    assert 3.182 * math.sqrt(5 / 3) < half < 4.303 * math.sqrt(5 / 3)
    assert half == pytest.approx(3.2203 * math.sqrt(5 / 3), rel=1e-3)


def test_values_that_never_vary() -> None:
    assert difference([5.0, 5.0], [4.0, 4.0, 4.0]) == (1.0, None), "it proves nothing"
    assert half_width([5.0, 5.0]) == 0.0


@given(VALUES, VALUES)
def test_a_difference_turns_its_sign_with_its_sides(ones: list[float], others: list[float]) -> None:
    gap, half = difference(ones, others)
    back, same = difference(others, ones)
    assert gap == pytest.approx(-back, abs=1e-9)
    assert (half is None) == (same is None)
    if half is not None:
        assert half >= 0
        assert half == pytest.approx(same, rel=1e-6, abs=1e-9)


@given(VALUES)
def test_half_width_is_scipys_to_the_last_bit(values: list[float]) -> None:
    if error := float(sem(values)):
        assert half_width(values) == t.interval(0.95, len(values) - 1, scale=error)[1]


def test_differences_against_scipy() -> None:
    ones, others = [97.1, 98.2, 97.7, 97.9], [96.8, 97.2, 99.1, 95.0, 96.6]
    expected = ttest_ind(ones, others, equal_var=False).confidence_interval(0.95)
    gap, half = difference(ones, others)
    assert half is not None
    assert (gap - half, gap + half) == pytest.approx((expected.low, expected.high))
