"""Conversion of dataclasses to plain JSON types and back."""

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
    from pydantic import TypeAdapter  # slow to import, and many calls need no record

    return TypeAdapter(kind)


def to_plain(record: object) -> dict[str, object]:
    """Return the fields of a dataclass in plain JSON types; NaN and infinity stay floats."""
    fields = _adapter(cast(Any, type(record))).dump_python(record, mode="json")
    return cast("dict[str, object]", fields)


def from_plain(kind: type[T], value: object) -> T:
    """Return the dataclass, or the tuple of dataclasses, from plain JSON types.

    Unknown names are ignored, as a later version may have written them.

    Raises:
        ValueError: fields are missing or have other types; the message lists all of them.
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
    """Convert as ``from_plain`` does, but reject unknown names; for values that keys depend on.

    Raises:
        ValueError: fields are missing, unknown or have other types.
    """
    known = {field.name for field in fields(cast(Any, kind))}
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a table")
    if unknown := {str(name) for name in value} - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return from_plain(kind, value)
