"""Families of a user's own: a callable for each size, in a module that a search imports."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Protocol

from torch import nn

from dgkd_search.errors import InputError, one_line
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Design, Family, Member
from dgkd_search.models.registry import families_of, register
from dgkd_search.utils.source_code import code_checksum


class ModelFactory(Protocol):
    """Makes a network for images [N, channels, image_size, image_size], giving logits
    [N, classes]; its constructor draws the weights, from torch's CPU generator."""

    def __call__(self, *, classes: int, channels: int, image_size: int) -> nn.Module: ...


def family(
    name: str,
    /,
    *,
    ends: tuple[str, str] | None = None,
    tiny_ends: tuple[str, str] | None = None,
    design: Design = "residual",
    **members: ModelFactory,
) -> Family:
    """Make a family of your own known to searches.

    Call it at the top of a module, and name that module with ``--models``. The files of the module
    and of the callables are part of what identifies a trained model: change them, and models are
    trained anew. What they import isn't looked at.

    Args:
        name: what ``--family`` calls it.
        ends: teacher and student of the chain that a search takes unasked; by default the largest
            member and the smallest.
        tiny_ends: likewise for data that is learnt in seconds; by default ``ends``.
        design: which default recipe the networks are trained by; see ``Family``.
        members: a callable for each size, from the smallest to the largest.

    Raises:
        ValueError: fewer than two members, ends that aren't two of them with the larger first, an
            unknown design, or a name that is taken by another module.
    """
    caller = sys._getframe(1).f_globals
    if len(members) < 2:
        raise ValueError(
            f"family {name!r}: {len(members)} members given; give a callable for each size, from "
            "a student to a teacher"
        )

    def make(architecture: Architecture) -> nn.Module:
        return members[architecture.name](
            classes=architecture.classes,
            channels=architecture.channels,
            image_size=architecture.image_size,
        )

    created = Family(
        name,
        tuple(Member(member, rank) for rank, member in enumerate(members, 1)),
        make,
        origin=str(caller["__name__"]),
        code=code_checksum(caller.get("__file__"), *members.values()),
        ends=ends,
        tiny_ends=tiny_ends,
        design=design,
    )
    register(created)
    return created


def load_families(module: str) -> tuple[Family, ...]:
    """Import a module, from the current folder or an installed package; the families in it.

    Raises:
        InputError: it can't be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a console script's path has its own folder alone
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        why = one_line(error, with_class=True)
        hint = "mend that"
        if isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name)):
            hint = "name a module of the current folder or of an installed package"
            if module.endswith(".py"):
                hint = f"name it without .py: {module.removesuffix('.py')}"
        raise InputError(f"--models {module}: can't be imported ({why}); {hint}") from None
    return families_of(module)
