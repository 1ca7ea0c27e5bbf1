"""Who teaches whom in a chain: the methods that a search chooses from, a class each.

Another one is a class here or, in a package of one's own, a class that ``register_guidance`` makes
known.
"""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.registry import Registry

_MARKERS = "osDdv^<>PXph*H8"  # filled ones of matplotlib's


class Guidance(ABC):
    """A rule for the teachers of each model in a chain.

    Attributes:
        name: what ``--guidance`` and tables call it.
        method: what the literature calls it.
        color: of its points and lines, as ``#RRGGBB``.
        marker: of its points, as matplotlib names them.
    """

    name: str
    method: str
    color: str = "#858585"
    marker: str = "D"

    @abstractmethod
    def teachers(self, position: int) -> tuple[int, ...]:
        """Positions of the models that teach the one at ``position``.

        Args:
            position: 1 or more; 0 is the largest model, which has labels alone.

        Returns:
            Different positions below it, ascending: the largest model first.
        """


class Dense(Guidance):
    """All larger models (Son et al., arXiv 2009.08825, section 3)."""

    name, method, color, marker = "dense", "DGKD", "#1F86C4", "o"

    def teachers(self, position: int) -> tuple[int, ...]:
        return tuple(range(position))


class Sequential(Guidance):
    """The model before (Mirzadeh et al., arXiv 1902.03393)."""

    name, method, color, marker = "sequential", "TAKD", "#E69F00", "s"

    def teachers(self, position: int) -> tuple[int, ...]:
        return (position - 1,)


class TeacherOnly(Guidance):
    """The first model (Hinton et al., arXiv 1503.02531)."""

    name, method, color, marker = "teacher", "KD", "#009E73", "^"

    def teachers(self, position: int) -> tuple[int, ...]:
        return (0,)


class LabelsOnly(Guidance):
    """Nobody."""

    name, method, color, marker = "none", "NOKD", "#CC79A7", "P"

    def teachers(self, position: int) -> tuple[int, ...]:
        return ()


_registry = Registry[Guidance](
    "guidance",
    "dgkd_search.guidances",
    (Dense(), Sequential(), TeacherOnly(), LabelsOnly()),
)


def register_guidance(guidance: type[Guidance]) -> type[Guidance]:
    """Make a guidance known to searches, as ``--guidance NAME``; also a decorator of its class.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.guidances`` under the guidance's name.

    Raises:
        ValueError: the class lacks a name or a method, one of its attributes is none, or the name
            is taken.
    """
    for attribute in ("name", "method"):
        if not isinstance(getattr(guidance, attribute, None), str):
            raise ValueError(f"{guidance.__name__}: has no {attribute}; give it one, a text")
    if not guidance.name.isidentifier():
        raise ValueError(f"guidance {guidance.name!r}: a name has letters, digits and _ alone")
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

    own = [code for name in names if (code := _registry.code(name))]
    return digest(own) if own else ""


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
