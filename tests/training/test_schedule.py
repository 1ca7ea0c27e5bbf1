from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.training.recipe import SCHEDULES, Recipe
from dgkd_search.training.schedule import learning_rate


def recipe(schedule: str, epochs: int, lr: float = 0.1) -> Recipe:
    return Recipe(epochs, 32, lr, 0.0, schedule, "none")


def by_epoch(schedule: str, epochs: int, steps: int = 3) -> list[list[float]]:
    """Return the rates of all steps, one list per epoch."""
    rates = [learning_rate(recipe(schedule, epochs), s, steps) for s in range(epochs * steps)]
    return [rates[i : i + steps] for i in range(0, len(rates), steps)]


@pytest.mark.parametrize(
    ("epochs", "powers"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 0, 1]),
        (4, [0, 0, 1, 2]),
        (5, [0, 0, 0, 1, 2]),
        (7, [0, 0, 0, 0, 1, 1, 2]),
        (8, [0, 0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_step_drops_once_half_and_three_quarters_are_over(epochs: int, powers: list[int]) -> None:
    for rates, power in zip(by_epoch("step", epochs), powers, strict=True):
        assert rates == pytest.approx([0.1 * 10**-power] * 3)


def test_step_is_the_published_recipe() -> None:
    rates = [rates[0] for rates in by_epoch("step", 160)]
    assert rates == pytest.approx([0.1] * 80 + [0.01] * 40 + [0.001] * 40)


@pytest.mark.parametrize(
    ("schedule", "epochs", "lengths"),
    [("late", 240, [150, 30, 30, 30]), ("thirds", 100, [30, 30, 30, 10])],
)
def test_the_others_drop_where_their_recipes_do(
    schedule: str, epochs: int, lengths: list[int]
) -> None:
    rates = [rates[0] for rates in by_epoch(schedule, epochs, steps=1)]
    powers = [power for power, length in enumerate(lengths) for _ in range(length)]
    assert rates == pytest.approx([0.1 * 10**-power for power in powers])


def test_constant_is_constant() -> None:
    assert by_epoch("constant", 3) == [[0.1] * 3] * 3


def test_cosine_goes_from_the_peak_over_its_half_to_nearly_nothing() -> None:
    rates = [rate for rates in by_epoch("cosine", 4, steps=25) for rate in rates]
    assert rates[0] == 0.1
    assert rates[50] == pytest.approx(0.05)
    assert rates[25] == pytest.approx(0.1 * (1 + 2**-0.5) / 2)
    assert 0 < rates[-1] < 0.0001
    assert rates == sorted(rates, reverse=True)


def test_onecycle_rises_for_a_quarter_and_falls_to_the_end() -> None:
    # eight steps with middles at 1/16, 3/16, ...: rising 4·middle, falling 4/3·(1 − middle)
    rates = [rate for rates in by_epoch("onecycle", 2, steps=4) for rate in rates]
    sixteenths = [4, 12, 44 / 3, 12, 28 / 3, 20 / 3, 4, 4 / 3]
    assert rates == pytest.approx([0.1 * value / 16 for value in sixteenths])


@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 300),
    steps=st.integers(1, 400),
    lr=st.floats(1e-6, 10),
    share=st.floats(0, 1, exclude_max=True),
)
def test_every_rate_lies_above_zero_and_up_to_the_peak(
    schedule: str, epochs: int, steps: int, lr: float, share: float
) -> None:
    step = int(share * epochs * steps)
    rate = learning_rate(recipe(schedule, epochs, lr), step, steps)
    assert 0 < rate <= lr * (1 + 1e-12)


@given(st.sampled_from(SCHEDULES), st.integers(1, 50), st.integers(1, 20))
def test_a_schedule_reaches_its_peak_and_turns_at_most_once(
    schedule: str, epochs: int, steps: int
) -> None:
    rates = [learning_rate(recipe(schedule, epochs), s, steps) for s in range(epochs * steps)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) >= 0.066  # a one-cycle with a single step reaches two thirds
