"""Parsers return a value, or an error with the rule."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.config.parsers import (
    COARSE_DROPS,
    DropGrid,
    OptionParser,
    SeveralOf,
    drop_grid,
    duration,
    flag,
    gpus,
    integer,
    names,
    number,
    path_text,
    size,
    text,
    within,
)
from dgkd_search.utils.rules import OneOf, Range

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
EVERY: dict[str, OptionParser] = {
    "integer": integer(0),
    "number": number(0, 1),
    "OneOf": OneOf(("a", "b")),
    "names": names,
    "SeveralOf": SeveralOf(("a", "b"), 0),
    "text": text,
    "place": path_text,
    "flag": flag,
    "duration": duration,
    "size": size,
    "gpus": gpus,
    "drops": drop_grid,
}
probabilities = st.floats(0, 0.999).map(lambda p: round(p, 10))


@pytest.mark.parametrize("name", EVERY)
@given(value=ANYTHING)
def test_a_rule_gives_a_value_or_one_line(name: str, value: object) -> None:
    try:
        EVERY[name](value)
    except ValueError as error:
        assert str(error)
        assert len(str(error).splitlines()) == 1


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_keep_every_digit(value: int) -> None:
    assert integer(0)(value) == integer(0)(str(value)) == value


@pytest.mark.parametrize(("value", "expected"), [("1e3", 1000), (" 7 ", 7), (3.0, 3), ("2.0", 2)])
def test_whole_numbers_may_be_written_otherwise(value: object, expected: int) -> None:
    result = integer(0)(value)
    assert result == expected
    assert isinstance(result, int)


@pytest.mark.parametrize("value", ["1.5", 0.5, -1, "0", "x", "", True, None, [1], "nan", "1e400"])
def test_what_is_no_whole_number_in_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        integer(1)(value)


@pytest.mark.parametrize("rule", [integer(0), number(0), gpus, drop_grid, duration, size])
def test_numbers_have_no_underscores(rule: OptionParser) -> None:
    """``int`` and ``float`` accept them in text, as Python code does."""
    for value in ("1_0", "0.1_0", "1_0:2_0"):
        with pytest.raises(ValueError, match="must be"):
            rule(value)


def test_whole_numbers_have_a_largest() -> None:
    assert integer(8, 10)("10") == 10
    for value, rule in ((11, "at most 10"), (2**70, "at most 10"), (7, "at least 8")):
        with pytest.raises(ValueError, match=rule):
            integer(8, 10)(value)


@given(st.floats(0, 1))
def test_numbers_come_back_from_their_text(value: float) -> None:
    assert number(0, 1)(repr(value)) == number(0, 1)(value) == value


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "inf", "", "a", True, None, [0.5], "-inf"])
def test_numbers_outside_their_range_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a"):
        number(0, 1)(value)


def test_an_open_end_is_outside() -> None:
    assert number(0)(0) == 0
    with pytest.raises(ValueError, match="above 0"):
        within(Range(0, open_low=True))(0)
    with pytest.raises(ValueError, match="above 0"):
        within(Range(0, open_low=True), digits=10)(1e-11)
    assert within(Range(0), digits=10)(1 / 3) == 0.3333333333


def test_minus_zero_is_zero() -> None:
    for value in (number(0)("-0"), within(Range(0), digits=3)("-0.0"), drop_grid("-0.0").values[0]):
        assert math.copysign(1, value) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b")),
        (["a", "b"], ("a", "b")),
        ("none", ()),
        ("", ()),
        ([], ()),
        (("a",), ("a",)),
    ],
)
def test_names_are_listed(value: object, expected: tuple[str, ...]) -> None:
    assert names(value) == expected


@pytest.mark.parametrize("value", ["a,a", ["a", " a"], {"a": 1}, [["a"]], [1], 5, None])
def test_what_lists_no_names_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"twice|must be names"):
        names(value)


def test_choices_are_named_where_another_is_given() -> None:
    assert OneOf(("a", "b"))("b") == "b"
    assert SeveralOf(("a", "b"), 1)("b,a") == ("b", "a")
    for rule, value in (
        (OneOf(("a", "b")), "c"),
        (OneOf(("a", "b")), ["a"]),
        (SeveralOf(("a", "b"), 1), ""),
        (SeveralOf(("a", "b"), 1), "a,a"),
        (SeveralOf(("a", "b"), 1), "a,c"),
    ):
        with pytest.raises(ValueError, match="a, b"):
            rule(value)


@pytest.mark.parametrize("value", ["", "  ", "a\0b", "a\nb", "\udcff", ["a"], {"a": 1}, 5, None])
def test_a_text_is_one_line_of_printable_characters(value: object) -> None:
    with pytest.raises(ValueError, match="text"):
        text(value)


def test_a_place_is_a_path_whose_home_is_known() -> None:
    assert path_text(Path("a") / "b c") == "a/b c"
    assert path_text("~/x") == "~/x"
    assert path_text("caf\udce9/a\nb") == "caf\udce9/a\nb", "any bytes that a file system allows"
    for value in ("", "  ", "a\0b", ["a"], None):
        with pytest.raises(ValueError, match="must be"):
            path_text(value)
    with pytest.raises(ValueError, match="home"):
        path_text("~no-such-user-at-all/x")


def test_only_true_and_false_are_flags() -> None:
    assert (flag(True), flag(False)) == (True, False)
    for value in (1, 0, "yes", "true", None):
        with pytest.raises(ValueError, match="true or false"):
            flag(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90), (90, 90), ("90s", 90), ("1.5h", 5400), (" 2 m ", 120), ("1d", 86400), (".5", 0.5)],
)
def test_durations_have_units(value: object, seconds: float) -> None:
    assert duration(value) == seconds


@given(st.floats(0, 1e300, exclude_min=True, allow_subnormal=False))
def test_a_duration_comes_back_from_its_seconds(seconds: float) -> None:
    assert duration(seconds) == duration(repr(seconds)) == seconds


@pytest.mark.parametrize("value", ["0", "-5", "", "h", "1h30", "1 week", "inf", "9e999", True, "²"])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="30m"):
        duration(value)


@pytest.mark.parametrize("value", [0, "0.25", 1, "4", 0.0001])
def test_shares_of_gpus(value: object) -> None:
    assert gpus(value) == float(str(value))


@pytest.mark.parametrize("value", ["-1", "1.5", "x", 1e-9, None])
def test_shares_that_ray_cannot_give_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        gpus(value)


@given(st.lists(probabilities, min_size=1, max_size=4))
def test_a_list_of_drops_is_sorted_and_comes_back_from_its_text(values: list[float]) -> None:
    parsed = drop_grid(values)
    assert parsed == DropGrid(tuple(sorted(set(values))))
    assert drop_grid(str(parsed)) == drop_grid(parsed) == parsed
    assert parsed.allowed("student") == parsed.allowed("all") == parsed.values


@given(probabilities, probabilities)
def test_a_range_of_drops_is_stepped_within_its_bounds(one: float, two: float) -> None:
    low, high = sorted((one, two))
    parsed = drop_grid(f"{low!r}:{high!r}")
    assert drop_grid(str(parsed)) == parsed == DropGrid((low, high), True)
    steps = parsed.allowed("student")
    assert steps[0] == low
    assert high - 0.05 - 1e-6 < steps[-1] <= high + 1e-6
    assert all(abs(b - a - 0.05) < 1e-9 for a, b in pairwise(steps))
    assert parsed.allowed("all") == tuple(p for p in COARSE_DROPS if low <= p <= high)


def test_the_default_range_has_eleven_steps() -> None:
    assert drop_grid("0:0.5").allowed("student") == tuple(round(0.05 * i, 10) for i in range(11))
    assert str(drop_grid("0:.5")) == "0:0.5"


@pytest.mark.parametrize(
    "value",
    [
        *"1 -0.1 1.5 0:1 0.5:0.1 0:0.1:0.2 : , a nan 0.99999999999".split(),
        *("", [], None, True, [[0]], {"a": 0}, ["0:0.5"]),
    ],
)
def test_drops_outside_zero_to_one_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        drop_grid(value)


UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@given(
    count=st.integers(1, 2**20),
    unit=st.sampled_from(sorted(UNITS)),
    ending=st.sampled_from(["", "b", "ib"]),
    upper=st.booleans(),
    blank=st.sampled_from(["", " "]),
)
def test_a_size_is_a_count_of_its_unit(
    count: int, unit: str, ending: str, upper: bool, blank: str
) -> None:
    written = f"{blank}{count}{blank}{unit}{ending}{blank}"
    assert size(written.upper() if upper else written) == count * 1024 ** UNITS[unit]


@given(st.integers(1, 2**53))
def test_a_size_comes_back_from_its_bytes(count: int) -> None:
    assert size(count) == size(str(count)) == count


@given(st.integers(1, 1023), st.sampled_from("kmgt"))
def test_a_part_of_a_unit_is_so_many_of_the_next_smaller(quarters: int, unit: str) -> None:
    assert size(f"{quarters / 4}{unit}") == quarters * 256 * 1024 ** (UNITS[unit] - 1)


@given(st.text(max_size=8))
def test_a_size_is_above_zero_or_refused(value: str) -> None:
    try:
        assert size(value) >= 1
    except ValueError as error:
        assert "500M or 20G" in str(error)


@pytest.mark.parametrize(
    "value",
    [*"0 0.4 0k -5 -1G G 1p 1gg 1.2.3G 1e3 ib inf nan ² ١G".split(), "", "20 G B", True, None, [1]],
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="20G"):
        size(value)
