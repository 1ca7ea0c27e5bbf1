"""Dataclasses to plain JSON types and back, so that facts have types wherever they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # a start that reads and writes no record does without

    return TypeAdapter(kind)


def to_plain(record: object) -> dict[str, object]:
    """The fields of a dataclass in plain JSON types; floats that aren't finite stay as they are."""
    fields = _adapter(cast(Any, type(record))).dump_python(record, mode="json")
    return cast("dict[str, object]", fields)


def from_plain(kind: type[T], value: object) -> T:
    """The dataclass, or the tuple of them, that plain JSON types describe.

    Names that the dataclass doesn't have are ignored: a later version may have written them.

    Raises:
        ValueError: fields are missing or of other types; names each of them.
    """
    from pydantic import ValidationError

    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(value))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'all of it'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError("; ".join(problems)) from None


def from_exact(kind: type[T], value: object) -> T:
    """``from_plain`` where every name counts: what a key is made of has no part to ignore.

    Raises:
        ValueError: fields are missing or of other types, or there are others too.
    """
    known = {field.name for field in fields(cast(Any, kind))}
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is no table")
    if unknown := {str(name) for name in value} - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return from_plain(kind, value)
