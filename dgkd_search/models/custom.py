"""Custom families: a callable for each size, in a module that a search imports."""

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
    """A callable that returns a network with newly drawn weights.

    The network maps images [N, channels, image_size, image_size] to logits [N, classes]. Weights
    are drawn from torch's global CPU generator, as PyTorch's layers do.
    """

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
    """Register a family of networks as ``--family NAME``.

    Call it at the top level of a module, and pass that module to ``--models``. The contents of the
    module's file and of the files that define the callables are part of the key of a trained model:
    if they change, models are trained again. Files that they import are not part of it.

    Args:
        name: the name for ``--family``.
        ends: default teacher and student; by default the largest and the smallest member.
        tiny_ends: the same for data that a model learns in seconds; by default ``ends``.
        design: selects the default recipe; see ``Family``.
        members: a callable for each size, from the smallest to the largest.

    Raises:
        ValueError: there are fewer than two members, ``ends`` or ``tiny_ends`` are not two members
            with the larger first, the design is unknown, or another module has taken the name.
    """
    caller = sys._getframe(1).f_globals
    if len(members) < 2:
        raise ValueError(
            f"family {name!r}: {len(members)} members; give at least two callables, from the "
            "smallest to the largest network"
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
    """Import a module from the current folder or an installed package; return its families.

    Raises:
        InputError: the module cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # the path of a console script lacks the current folder
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        why = one_line(error, with_class=True)
        hint = "fix that"
        if isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name)):
            hint = "name a module in the current folder or in an installed package"
            if module.endswith(".py"):
                hint = f"name it without .py: {module.removesuffix('.py')}"
        raise InputError(f"--models {module}: can't be imported ({why}); {hint}") from None
    return families_of(module)
