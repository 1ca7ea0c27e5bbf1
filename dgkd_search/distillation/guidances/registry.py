"""The registry of guidances.

To add a guidance, add a module to this folder and an instance to ``_BUILT_IN``. Other packages call
``register_guidance``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from dgkd_search.distillation.guidances.base import Guidance
from dgkd_search.distillation.guidances.dense import Dense
from dgkd_search.distillation.guidances.labels_only import LabelsOnly
from dgkd_search.distillation.guidances.sequential import Sequential
from dgkd_search.distillation.guidances.teacher_only import TeacherOnly
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.registry import Registry, check_class

DEFAULT_GUIDANCE = Dense.name
NO_GUIDANCE = LabelsOnly.name
_MARKERS = "osDdv^<>PXph*H8"  # matplotlib's filled markers

_BUILT_IN = (Dense(), Sequential(), TeacherOnly(), LabelsOnly())
_registry = Registry[Guidance]("guidance", "dgkd_search.guidances", _BUILT_IN)


def register_guidance(guidance: type[Guidance]) -> type[Guidance]:
    """Register a guidance as ``--guidance NAME``; usable as a class decorator.

    Call it at the top level of a module. Pass that module to ``--models`` or, in a package, declare
    it as an entry point of the group ``dgkd_search.guidances`` under the guidance's name.

    Raises:
        ValueError: the name or method is missing, an attribute is invalid, or the name is taken.
    """
    check_class("guidance", guidance, "method")
    if not re.fullmatch("#[0-9A-Fa-f]{6}", guidance.color):
        raise ValueError(
            f"guidance {guidance.name!r}: color {guidance.color!r} must be like #1F86C4"
        )
    if guidance.marker not in _MARKERS:
        raise ValueError(
            f"guidance {guidance.name!r}: marker {guidance.marker!r} must be one of "
            f"{' '.join(_MARKERS)}"
        )
    _registry.register(guidance(), guidance.__module__)
    return guidance


def get_guidance(name: str, label: str | None = None) -> Guidance:
    """Return the guidance called ``name``.

    Raises:
        InputError: there is none, or its package cannot be loaded.
    """
    return _registry.get(name, label)


def guidance_names() -> tuple[str, ...]:
    """Return the names of all built-in, registered and installed guidances."""
    return _registry.names()


def guidance_code(names: Sequence[str]) -> str:
    """Return a checksum of the code of the custom ones among these guidances; empty if none is."""
    from dgkd_search.utils.hashing import digest  # not needed for --help
    from dgkd_search.utils.source_code import class_checksum

    own = [class_checksum(type(get_guidance(name))) for name in names]
    return digest(list(filter(None, own))) if any(own) else ""


def teachers_of(name: str, position: int) -> tuple[int, ...]:
    """Return the positions of the teachers of the model at ``position``, ascending.

    The first model has none.

    Raises:
        InputError: there is no such guidance, or a custom one fails or returns invalid positions.
    """
    if position == 0:
        return ()
    guidance = get_guidance(name)
    try:
        teachers = tuple(int(operator.index(each)) for each in guidance.teachers(position))
    except Exception as error:  # a user's method may raise or return anything
        raise InputError(
            f"guidance {name!r}: fails at position {position} "
            f"({one_line(error, 200, with_class=True)}); fix its method teachers"
        ) from error
    if list(teachers) != sorted({*teachers} & {*range(position)}):
        raise InputError(
            f"guidance {name!r}: returns {list(teachers)} for the model at position {position}; "
            f"return distinct positions from 0 to {position - 1}, ascending"
        )
    return teachers
