"""Plain values, which keys, YAML and JSON can contain."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dgkd_search.utils.option_values import option_names, option_values, plain_value


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "a b", (), (1, "x", False)])
def test_plain_values_stay_and_come_back_from_json(value: object) -> None:
    assert plain_value(value) == value
    assert plain_value(json.loads(json.dumps(value))) == value


def test_equal_settings_have_one_form() -> None:
    assert math.copysign(1, float(str(plain_value(-0.0)))) == 1
    assert option_values({"b": [1, 2], "a": -0.0}) == (("a", 0.0), ("b", (1, 2)))


@pytest.mark.parametrize(
    "value",
    [{"a": 1}, [[1]], [None], b"a", Path(), np.float64(1), math.nan, -math.inf, "a\n", ["\0"]],
)
def test_others_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a|is a (dict|list|NoneType|bytes|float64)"):
        plain_value(value)


def test_names_are_in_underscores_and_several() -> None:
    assert option_names(["my-width", "beta"]) == ("my_width", "beta")
    with pytest.raises(ValueError, match="options 'width': must be a sequence of names"):
        option_names("width")
