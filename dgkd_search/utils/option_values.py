"""Values of options that packages add: plain, so that keys, YAML and JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

PlainValue = bool | int | float | str
OptionValue = PlainValue | tuple[PlainValue, ...] | None
OptionValues = tuple[tuple[str, OptionValue], ...]  # by name, in alphabetical order


def plain_value(value: object) -> OptionValue:
    """The value in its one form: a list is a tuple, -0.0 is 0.0.

    Raises:
        ValueError: it is neither a bool, int, finite float or printable text, nor several of these.
    """
    if isinstance(value, list | tuple):
        return tuple(_plain_part(part) for part in value)
    return None if value is None else _plain_part(value)


def option_values(values: Mapping[str, object]) -> OptionValues:
    """Values by name in the form that configurations and stages hold.

    Raises:
        ValueError: one of them isn't plain.
    """
    return tuple((name, plain_value(values[name])) for name in sorted(values))


def option_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the options that a part takes, in underscores.

    Raises:
        ValueError: it is no sequence of names, but a single text, say.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"options {names!r}: must be several names, as ('width',)")
    return tuple(name.replace("-", "_") for name in names)


def _plain_part(value: object) -> PlainValue:
    # By type, not isinstance: YAML has no word for a float of NumPy's.
    if type(value) not in (bool, int, float, str):
        raise ValueError(
            f"is a {type(value).__name__}; must be a bool, int, float, text or several of these"
        )
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("must be a text of printable characters")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value + 0.0  # -0 is 0, or equal settings would have two keys
    return cast(PlainValue, value)
