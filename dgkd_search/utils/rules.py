"""Rules for values; both the check and its message follow from the rule.

A field of a dataclass states its rule in its type, as in
``epochs: Annotated[int, Range(1, whole=True)]``; the parser of an option uses the same rule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

from dgkd_search.errors import InputError


class Rule(Protocol):
    """A condition on a value."""

    def check(self, value: Any) -> None:
        """Raise a ``ValueError`` that states the rule, if the value violates it."""


@dataclass(frozen=True)
class Range:
    """A range of finite numbers from ``low`` to ``high``.

    Attributes:
        open_low, open_high: whether the range excludes this end.
        whole: whether only whole numbers are allowed.
        why: reason of the range, for messages.
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
        """The range in mathematical notation, such as ``[0, 1)``."""
        left = "(" if self.open_low or self.low == -math.inf else "["
        right = ")" if self.open_high or self.high == math.inf else "]"
        return f"{left}{_digits(self.low)}, {_digits(self.high)}{right}"

    def __str__(self) -> str:
        """Describe the range in words, as in ``a number above 0 and at most 1``."""
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
    """A choice from a few words; when called with a value, it acts as the parser of an option."""

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
        InputError: the value violates the rule.
    """
    if problem := _problem(name, value, rule):
        raise InputError(problem)


def check_fields(owner: object, labels: Mapping[str, str] | None = None) -> None:
    """Check every field of a dataclass whose type states a rule.

    Args:
        owner: the dataclass instance.
        labels: names of fields in messages, by default the field's name with dashes.

    Raises:
        InputError: one message per field that violates its rule.
    """
    if problems := field_problems(owner, labels):
        raise InputError(problems)


def field_problems(
    owner: object, labels: Mapping[str, str] | None = None, prefix: str = ""
) -> list[str]:
    """Return a message for each field that violates its rule, in the order of the fields.

    None is valid for an optional field.

    Args:
        owner, labels: as for ``check_fields``.
        prefix: prefix of every label, such as ``--``.
    """
    problems = []
    # mypy confuses the hash of the class with that of its instances.
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
    """Return the rule of each field that has one, and whether the field is optional."""
    return {
        name: (rule, type(None) in get_args(get_args(hint)[0]))
        for name, hint in get_type_hints(owner, include_extras=True).items()
        if get_origin(hint) is Annotated
        for rule in get_args(hint)[1:]
    }
