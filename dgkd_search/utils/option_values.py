"""Values of options of other packages, restricted to types that keys, YAML and JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

PlainValue = bool | int | float | str
OptionValue = PlainValue | tuple[PlainValue, ...] | None
OptionValues = tuple[tuple[str, OptionValue], ...]  # names and values, in alphabetical order


def plain_value(value: object) -> OptionValue:
    """Return the canonical form of a value: a tuple for a list, 0.0 for -0.0.

    Raises:
        ValueError: the value is no bool, int, finite float, printable text, or list of these.
    """
    if isinstance(value, list | tuple):
        return tuple(_plain_part(part) for part in value)
    return None if value is None else _plain_part(value)


def option_values(values: Mapping[str, object]) -> OptionValues:
    """Return values by name in the form that configurations and stages hold.

    Raises:
        ValueError: a value isn't plain; see ``plain_value``.
    """
    return tuple((name, plain_value(values[name])) for name in sorted(values))


def option_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the options that a part takes, with underscores.

    Raises:
        ValueError: the argument is no sequence of names, for example a single text.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"options {names!r}: must be a sequence of names, e.g. ('width',)")
    return tuple(name.replace("-", "_") for name in names)


def _plain_part(value: object) -> PlainValue:
    # Compare exact types: YAML can't represent NumPy's subclass of float.
    if type(value) not in (bool, int, float, str):
        raise ValueError(
            f"is a {type(value).__name__}; must be a bool, int, float, text or a list of these"
        )
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("must be a text of printable characters")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value + 0.0  # turns -0 into 0, as equal settings must have equal keys
    return cast(PlainValue, value)
