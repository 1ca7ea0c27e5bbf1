"""Guidances by name.

Another one is a module beside this one and a word in ``_BUILT_IN`` or, in a package of one's own, a
class that ``register_guidance`` makes known.
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
_MARKERS = "osDdv^<>PXph*H8"  # filled ones of matplotlib's

_BUILT_IN = (Dense(), Sequential(), TeacherOnly(), LabelsOnly())
_registry = Registry[Guidance]("guidance", "dgkd_search.guidances", _BUILT_IN)


def register_guidance(guidance: type[Guidance]) -> type[Guidance]:
    """Make a guidance known to searches, as ``--guidance NAME``; also a decorator of its class.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.guidances`` under the guidance's name.

    Raises:
        ValueError: the class lacks a name or a method, one of its attributes is none, or the name
            is taken.
    """
    check_class("guidance", guidance, "method")
    if not re.fullmatch("#[0-9A-Fa-f]{6}", guidance.color):
        raise ValueError(f"guidance {guidance.name!r}: color {guidance.color!r} isn't as #1F86C4")
    if guidance.marker not in _MARKERS:
        raise ValueError(
            f"guidance {guidance.name!r}: marker {guidance.marker!r} is none of "
            f"{' '.join(_MARKERS)}"
        )
    _registry.register(guidance(), guidance.__module__)
    return guidance


def get_guidance(name: str, label: str | None = None) -> Guidance:
    """The guidance of that name.

    Raises:
        InputError: there is none.
    """
    return _registry.get(name, label)


def guidance_names() -> tuple[str, ...]:
    """Names of the guidances that are built in, registered or installed."""
    return _registry.names()


def guidance_code(names: Sequence[str]) -> str:
    """Checksum of the code of those that are a user's own; empty where none is."""
    from dgkd_search.utils.hashing import digest  # --help does without
    from dgkd_search.utils.source_code import class_checksum

    own = [class_checksum(type(get_guidance(name))) for name in names]
    return digest(list(filter(None, own))) if any(own) else ""


def teachers_of(name: str, position: int) -> tuple[int, ...]:
    """Positions of the models that teach the one at ``position``, ascending; none for the first.

    Raises:
        InputError: no guidance of that name, or one that breaks its rule.
    """
    if position == 0:
        return ()
    guidance = get_guidance(name)
    try:
        teachers = tuple(int(operator.index(each)) for each in guidance.teachers(position))
    except Exception as error:  # whatever a user's method raises or gives
        raise InputError(
            f"guidance {name!r}: fails at position {position} "
            f"({one_line(error, 200, with_class=True)}); mend its method teachers"
        ) from error
    if list(teachers) != sorted({*teachers} & {*range(position)}):
        raise InputError(
            f"guidance {name!r}: gives {list(teachers)} for the model at position {position}; "
            f"give different positions from 0 to {position - 1}, ascending"
        )
    return teachers
