"""Rules for the values of options: each turns a text or a YAML value into a typed value.

A rule raises a ``ValueError``, which says what a value must be.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgkd_search.study.config import SETTING_DIGITS
from dgkd_search.training.recipe import DROP_PROB
from dgkd_search.utils.rules import Range

DROP_STEP = 0.05
# Values for --drop-scope all: only a few, so that chains can share assistants.
COARSE_DROPS = (0.0, 0.25, 0.5, 0.75)

_LARGEST = 2**63 - 1
_SMALLEST_SHARE = 0.0001  # Ray's resolution

OptionParser = Callable[[object], Any]


def within(rule: Range, *, digits: int | None = None) -> OptionParser:
    """A rule for a number in a range, rounded to ``digits``; whole numbers are exact."""

    def parse(value: object) -> float:
        result = _number(value, str(rule))
        if digits is not None:
            result = round(result, digits)
        if rule.whole and result == int(result):
            result = _exact_integer(value, result)
        rule.check(result)
        if rule.whole and result > _LARGEST:
            raise ValueError(f"must be a whole number of at most {_LARGEST}")
        return result

    return parse


def integer(low: int, high: float = math.inf) -> OptionParser:
    """A rule for a whole number in [low, high]."""
    return within(Range(low, high, whole=True))


def number(low: float, high: float = math.inf) -> OptionParser:
    """A rule for a finite number in [low, high]."""
    return within(Range(low, high))


def names(value: object) -> tuple[str, ...]:
    """Parse names, ``a,b`` or a list; an empty value or the word ``none`` means no name."""
    result = _parts(value)
    if len(set(result)) != len(result):
        raise ValueError("a name occurs twice; give each once")
    return () if result == ("none",) else result


@dataclass(frozen=True)
class Listed:
    """A rule for a name. It lists choices for help and completion; ``resolve`` checks the name.

    Args:
        known: returns the names that are known at present.
    """

    known: Callable[[], Sequence[str]]

    @property
    def choices(self) -> Sequence[str]:
        return self.known()

    def __call__(self, value: object) -> str:
        return text(value)


@dataclass(frozen=True)
class Named(Listed):
    """A rule for a name that the user's own module may register before ``resolve``."""

    def check(self, names: str | Sequence[str]) -> None:
        """Check names early, if no module can register them later.

        Raises:
            ValueError: a name is unknown.
        """
        choices = self.choices
        unknown = {names} if isinstance(names, str) else {*names}
        if unknown - {*choices}:
            raise ValueError(
                f"unknown; choose from {', '.join(choices)}, or name your own module with --models"
            )


@dataclass(frozen=True)
class SeveralOf:
    """A rule for at least ``least`` different choices, separated by commas or in a list."""

    choices: Sequence[str]
    least: int

    def __call__(self, value: object) -> tuple[str, ...]:
        result = _parts(value)
        several = len(result) >= self.least and len(set(result)) == len(result)
        if not several or set(result) - set(self.choices):
            raise ValueError(
                f"must be different names, separated by commas, of {', '.join(self.choices)}"
            )
        return result


@dataclass(frozen=True)
class SeveralNamed(Named):
    """A rule for at least ``least`` different names, separated by commas or in a list."""

    least: int

    def __call__(self, value: object) -> tuple[str, ...]:  # type: ignore[override]
        result = _parts(value)
        malformed = [name for name in result if not name.isidentifier()]
        if malformed or len(result) < self.least or len(set(result)) != len(result):
            raise ValueError(
                f"must be different names, separated by commas, of {', '.join(self.choices)}"
            )
        return result


def objectives(value: object) -> tuple[str, ...]:
    """Parse ``accuracy`` or ``accuracy,cost``."""
    result = _parts(value)
    if result not in (("accuracy",), ("accuracy", "cost")):
        raise ValueError("must be accuracy, or accuracy,cost")
    return result


def text(value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise ValueError("must be a single text")
    result = str(value)
    if not result.strip() or not result.isprintable():
        raise ValueError("must be a non-empty text of printable characters")
    return result


def path_text(value: object) -> str:
    """Parse a path of any characters; ``~`` is expanded when the path is opened.

    Bytes of a path that are no text are lone surrogates, as in ``os.fsdecode``.
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError("must be a single text")
    result = str(value)
    if not result.strip() or "\0" in result:
        raise ValueError("must be the path of a file or a folder")
    try:
        Path(result).expanduser()
    except RuntimeError:
        raise ValueError("the home folder is unknown; write the path in full") from None
    return result


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def duration(value: object) -> float:
    """Parse a time in seconds, or with a unit: 90, 30m, 2h, 1d."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*([smhd]?)\s*", str(value))
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    seconds = float(match[1]) * units[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError("must be a time above 0, e.g. 90 (seconds), 30m, 2h or 1d")
    return seconds


def size(value: object) -> int:
    """Parse a size in bytes, or with a unit: 500M, 20G, 1.5T (powers of 1024)."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(?:i?b)?\s*", str(value).lower())
    powers = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
    count = float(match[1]) * 1024 ** powers[match[2]] if match else 0.0
    if isinstance(value, bool) or not 1 <= count < math.inf:
        raise ValueError("must be a size above 0, e.g. 500M or 20G")
    return int(count)


def gpus(value: object) -> float:
    rule = f"0, a fraction from {_SMALLEST_SHARE:g} to 1, or a whole number (a limit of Ray)"
    share = _number(value, rule)
    if share < 0 or 0 < share < _SMALLEST_SHARE or (share > 1 and share != int(share)):
        raise ValueError(f"must be {rule}")
    return share


@dataclass(frozen=True)
class DropGrid:
    """Drop probabilities to search over: ``values``, or the range between two if ``spread``."""

    values: tuple[float, ...]
    spread: bool = False

    def allowed(self, scope: str) -> tuple[float, ...]:
        """Return the values; those of a range in steps of 0.05, or of 0.25 for scope ``all``."""
        if not self.spread:
            return self.values
        low, high = self.values
        if scope == "all":
            return tuple(p for p in COARSE_DROPS if low <= p <= high)
        steps = round((high - low) / DROP_STEP - 0.5 + 1e-9)
        return tuple(round(low + i * DROP_STEP, 10) for i in range(steps + 1))

    def __str__(self) -> str:
        return (":" if self.spread else ",").join(_exact(v) for v in self.values)


def drop_grid(value: object) -> DropGrid:
    """Parse ``0.25``, ``0,.25,.5`` or ``LOW:HIGH``; each value in the range of ``DROP_PROB``."""
    rule = f"must be a value, a list 0,.25,.5 or a range LOW:HIGH, each in {DROP_PROB.interval}"
    if isinstance(value, DropGrid):
        return value
    spread = isinstance(value, str) and ":" in value
    parts = value if isinstance(value, list | tuple) else str(value).split(":" if spread else ",")
    try:
        values = tuple(round(_number(part), SETTING_DIGITS) + 0.0 for part in parts)
    except ValueError:
        raise ValueError(rule) from None
    if not values or not all(v in DROP_PROB for v in values):
        raise ValueError(rule)
    if spread and (len(values) != 2 or values[0] > values[1]):
        raise ValueError(f"{rule}, with LOW at most HIGH")
    return DropGrid(values, True) if spread else DropGrid(tuple(sorted(set(values))))


@dataclass(frozen=True)
class ReplicationPlan:
    """The replication of a search: the best ``top`` configurations, ``seeds`` fresh seeds each.

    Both are 0 for no replication.
    """

    top: int = 0
    seeds: int = 0

    def __str__(self) -> str:
        return f"{self.top}x{self.seeds}" if self.seeds else "off"


def replication_plan(value: object) -> ReplicationPlan:
    """Parse ``3x5`` or ``off``."""
    if isinstance(value, ReplicationPlan):
        return value
    if value is False or value == "off":  # YAML reads a bare off as false
        return ReplicationPlan()
    match = re.fullmatch(r"\s*([1-9][0-9]{0,2})x([1-9][0-9]{0,2})\s*", str(value))
    if match is None or int(match[2]) < 2:
        raise ValueError("must be CONFIGURATIONSxSEEDS with at least two seeds, e.g. 3x5, or off")
    return ReplicationPlan(int(match[1]), int(match[2]))


def _exact(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _parts(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be names separated by commas")
    return tuple(part.strip() for part in parts if part.strip())


def _exact_integer(value: object, rounded: float) -> int:
    """Return a whole number exactly; a float may have rounded it."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except ValueError:  # such as 1e3
        return int(rounded)


def _number(value: object, what: str = "a number") -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be {what}")
    if isinstance(value, str) and "_" in value:  # float() accepts 1_000, as Python code does
        raise ValueError(f"must be {what}")
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"must be {what}") from None
    if not math.isfinite(result):
        raise ValueError("must be a finite number")
    return result + 0.0  # turns -0 into 0, as equal settings must have equal keys
