"""Rules for values, each stated once: the check and the words of its message follow from it.

A field of a dataclass names its rule in its type, ``epochs: Annotated[int, Range(1, whole=True)]``;
the parser of an option is made from the same rule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

from dgkd_search.errors import InputError


class Rule(Protocol):
    """What a value must be."""

    def check(self, value: Any) -> None:
        """Raises ``ValueError``, which says what would be right, if the value breaks the rule."""


@dataclass(frozen=True)
class Range:
    """Finite numbers from ``low`` to ``high``.

    Attributes:
        open_low, open_high: whether that end itself is outside.
        whole: whether only whole numbers are allowed.
        why: what the range comes from, for messages.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False
    why: str = ""

    def __contains__(self, value: float) -> bool:
        try:
            if not (isinstance(value, int) or math.isfinite(value)):
                return False
        except TypeError:  # no number at all
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (not self.whole or value == int(value))

    def check(self, value: float) -> None:
        if value not in self:
            raise ValueError(f"must be {self}")

    @property
    def interval(self) -> str:
        """In the notation of mathematics, as ``[0, 1)``."""
        left = "(" if self.open_low or self.low == -math.inf else "["
        right = ")" if self.open_high or self.high == math.inf else "]"
        return f"{left}{_digits(self.low)}, {_digits(self.high)}{right}"

    def __str__(self) -> str:
        """For example ``a number above 0 and at most 1``."""
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"{'above' if self.open_low else 'of at least'} {_digits(self.low)}")
        if self.high < math.inf:
            bounds.append(f"{'below' if self.open_high else 'at most'} {_digits(self.high)}")
        kind = "whole number" if self.whole else "number" if bounds else "finite number"
        why = f" ({self.why})" if self.why else ""
        return f"a {kind} {' and '.join(bounds)}".rstrip() + why


@dataclass(frozen=True)
class OneOf:
    """One of a few words; called with a value it is the parser of an option."""

    choices: Sequence[str]

    def check(self, value: object) -> None:
        if value not in self.choices:
            raise ValueError(f"unknown; choose from {', '.join(self.choices)}")

    def __call__(self, value: object) -> str:
        self.check(value)
        return str(value)


COUNT = Range(1, whole=True)


def require(name: str, value: object, rule: Rule) -> None:
    """Check one value.

    Raises:
        InputError: it breaks the rule.
    """
    if problem := _problem(name, value, rule):
        raise InputError(problem)


def check_fields(owner: object, labels: Mapping[str, str] | None = None) -> None:
    """Check every field of a dataclass whose type names a rule.

    Args:
        labels: what messages call a field, where that isn't its name in dashes.

    Raises:
        InputError: every field that breaks its rule, all at once.
    """
    if problems := field_problems(owner, labels):
        raise InputError(problems)


def field_problems(
    owner: object, labels: Mapping[str, str] | None = None, prefix: str = ""
) -> list[str]:
    """A message for each field that breaks its rule, in their order.

    A field that may be None breaks none by being it.

    Args:
        labels: as for ``check_fields``.
        prefix: of every label, as ``--``.
    """
    problems = []
    # mypy takes the hash of instances for that of their class.
    for name, (rule, optional) in _field_rules(type(owner)).items():  # type: ignore[arg-type]
        value = getattr(owner, name)
        label = (labels or {}).get(name, name.replace("_", "-"))
        if optional and value is None:
            continue
        if problem := _problem(prefix + label, value, rule):
            problems.append(problem)
    return problems


def _problem(label: str, value: object, rule: Rule) -> str | None:
    try:
        rule.check(value)
    except ValueError as error:
        return f"{label} {value!r}: {error}"
    return None


def _digits(value: float) -> str:
    return f"{value:.10g}"


@functools.cache
def _field_rules(owner: type[Any]) -> dict[str, tuple[Rule, bool]]:
    """The rule of each field that has one, and whether it may be None."""
    return {
        name: (rule, type(None) in get_args(get_args(hint)[0]))
        for name, hint in get_type_hints(owner, include_extras=True).items()
        if get_origin(hint) is Annotated
        for rule in get_args(hint)[1:]
    }
