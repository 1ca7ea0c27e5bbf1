from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.config.parse_options import parse_options
from dgkd_search.errors import InputError
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.rules import OneOf, Range, check_fields, field_problems, require

ENDS = st.sampled_from([-math.inf, -2, 0, 0.5, 3, math.inf])


@dataclass(frozen=True)
class Settings:
    batch_size: Annotated[int, Range(2, whole=True, why="pairs")] = 2
    rate: Annotated[float | None, Range(0, open_low=True)] = None
    word: Annotated[str, OneOf(("a", "b"))] = "a"
    free: int = -1


@pytest.mark.parametrize(
    ("rule", "words", "interval"),
    [
        (Range(1, whole=True), "a whole number of at least 1", "[1, inf)"),
        (Range(8, 1024, whole=True), "a whole number of at least 8 and at most 1024", "[8, 1024]"),
        (Range(0, 1, open_high=True), "a number of at least 0 and below 1", "[0, 1)"),
        (Range(0, open_low=True, why="a rate"), "a number above 0 (a rate)", "(0, inf)"),
        (Range(), "a finite number", "(-inf, inf)"),
        (
            Range(1e-10, 1e6),
            "a number of at least 1e-10 and at most 1000000",
            "[1e-10, 1000000]",
        ),
    ],
)
def test_a_range_in_words(rule: Range, words: str, interval: str) -> None:
    assert (str(rule), rule.interval) == (words, interval)


@given(ENDS, ENDS, st.booleans(), st.booleans(), st.booleans(), ENDS | st.floats() | st.integers())
def test_a_range_against_its_definition(
    low: float, high: float, open_low: bool, open_high: bool, whole: bool, value: float
) -> None:
    expected = (
        -math.inf < value < math.inf
        and (value > low if open_low else value >= low)
        and (value < high if open_high else value <= high)
        and (not whole or value % 1 == 0)
    )
    assert (value in Range(low, high, open_low, open_high, whole)) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_in_no_range(value: float) -> None:
    assert value not in Range()


def test_whole_numbers_of_any_length() -> None:
    assert 10**400 in Range(0, whole=True)


def test_every_field_that_breaks_its_rule_is_named_at_once() -> None:
    check_fields(Settings())
    with pytest.raises(InputError) as caught:
        check_fields(Settings(1, 0.0, "c", -9))
    assert caught.value.messages == (
        "batch-size 1: must be a whole number of at least 2 (pairs)",
        "rate 0.0: must be a number above 0",
        "word 'c': unknown; choose from a, b",
    )
    assert field_problems(Settings(1), {"batch_size": "n"}, "--")[0].startswith("--n 1: ")


def test_one_value() -> None:
    require("repeats", 1, Range(1))
    with pytest.raises(InputError, match="repeats 0: must be a number of at least 1"):
        require("repeats", 0, Range(1))


RECIPE = {"lr": 0.1, "weight_decay": 0, "schedule": "step", "augment": "none"}
OWNERS = {  # option, the class whose field it sets, the other fields
    "epochs": (Recipe, {**RECIPE, "batch_size": 2}),
    "batch_size": (Recipe, {**RECIPE, "epochs": 1}),
    "weight_decay": (Recipe, {**RECIPE, "epochs": 1, "batch_size": 2}),
    "temperature": (Distillation, {}),
    "kd_weight": (Distillation, {}),
    "cpus_per_trial": (Numerics, {}),
}


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("value", [-1, 0, 0.5, 1, 2, 3, 1e6])
def test_an_option_and_the_field_that_it_sets_have_one_rule(name: str, value: float) -> None:
    """They accept the same values, and reject others with the same message."""
    owner, others = OWNERS[name]
    field = {"cpus_per_trial": "threads"}.get(name, name)
    messages = []
    for make in (
        lambda: parse_options({name: value}, "{}"),
        lambda: owner(**{**others, field: value}),
    ):
        try:
            make()
            messages.append("")
        except InputError as error:
            (message,) = error.messages
            messages.append(message.split(": ")[1])
    assert messages[0] == messages[1]
