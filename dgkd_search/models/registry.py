"""Families of networks by name, and how one network is built from its architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from dgkd_search.chain import Architecture
from dgkd_search.errors import InputError
from dgkd_search.models.layers import initialise


@dataclass(frozen=True)
class Member:
    """One network of a family.

    Attributes:
        name: unique in the family, for example ``resnet20``.
        size: orders the family from small to large: declared depth in layers or, where members
            differ in width too, parameters.
        in_pool: whether a search may choose it as an assistant unasked; other members take part
            only when they are named.
        lines: what it has in common with some others, such as a width: between two members of
            one line, a search chooses along it.
    """

    name: str
    size: int
    in_pool: bool = True
    lines: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Family:
    """Networks of one design that differ in depth or width.

    Attributes:
        name: unique among the registered families.
        members: kept sorted by size, then name, in whatever order they are given.
        build: makes the structure of an architecture of this family, mapping images
            [N, channels, image_size, image_size] to logits [N, classes]; weights are drawn by
            ``dgkd_search.models.build``.

    Raises:
        ValueError: two members share a name.
    """

    name: str
    members: tuple[Member, ...]
    build: Callable[[Architecture], nn.Module]

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"family {self.name!r}: members named twice: {', '.join(twice)}; "
                "give each its own name"
            )
        ordered = tuple(sorted(self.members, key=lambda member: (member.size, member.name)))
        object.__setattr__(self, "members", ordered)

    def member(self, name: str) -> Member:
        """The member called ``name``.

        Raises:
            InputError: the family has no such member.
        """
        for member in self.members:
            if member.name == name:
                return member
        choices = ", ".join(member.name for member in self.members)
        raise InputError(f"model {name!r}: not in family {self.name!r}; choose from {choices}")

    def between(self, teacher: str, student: str) -> tuple[str, ...]:
        """Names of the pool's members strictly between two in size, largest first.

        Empty where none lies between, so also where the teacher is no larger than the student.

        Raises:
            InputError: the family lacks the teacher or the student.
        """
        upper, lower = self.member(teacher), self.member(student)
        along = upper.lines & lower.lines
        inside = (
            member.name
            for member in self.members
            if lower.size < member.size < upper.size and member.in_pool and along <= member.lines
        )
        return tuple(inside)[::-1]


_families: dict[str, Family] = {}


def register(family: Family) -> None:
    """Make a family available by name.

    Raises:
        ValueError: the name is taken.
    """
    if family.name in _families:
        raise ValueError(
            f"family {family.name!r}: already registered; register it once, or rename it"
        )
    _families[family.name] = family


def family_names() -> tuple[str, ...]:
    """Names of the registered families, in alphabetical order."""
    return tuple(sorted(_families))


def get_family(name: str) -> Family:
    """The registered family called ``name``.

    Raises:
        InputError: no such family.
    """
    if name not in _families:
        raise InputError(f"family {name!r}: unknown; choose from {', '.join(family_names())}")
    return _families[name]


def build(architecture: Architecture, generator: torch.Generator) -> nn.Module:
    """A new network on the CPU, in training mode, with freshly drawn weights.

    Torch's global random state is neither read nor changed: the weights follow from the
    architecture and the generator's state alone.

    Args:
        architecture: which network.
        generator: CPU generator that every weight is drawn from; it advances.

    Returns:
        module mapping images [N, channels, image_size, image_size] to logits [N, classes].

    Raises:
        InputError: all that is wrong with the architecture, together.
    """
    model = _structure(architecture)
    model.to_empty(device="cpu")
    initialise(model, generator)
    return model


@cache
def parameter_count(architecture: Architecture) -> int:
    """Number of trainable parameters, without allocating them.

    Raises:
        InputError: all that is wrong with the architecture, together.
    """
    return sum(parameter.numel() for parameter in _structure(architecture).parameters())


def _structure(architecture: Architecture) -> nn.Module:
    _check(architecture)
    with torch.device("meta"):  # the constructors' own draws must not touch the global state
        return get_family(architecture.family).build(architecture)


def _check(architecture: Architecture) -> None:
    problems: list[str] = []
    try:
        get_family(architecture.family).member(architecture.name)
    except InputError as error:
        problems.extend(error.messages)
    for value, least, what in (
        (architecture.classes, 2, "classes"),
        (architecture.channels, 1, "channels"),
        (architecture.image_size, 8, "image_size"),
    ):
        if value < least:
            problems.append(f"{what} {value}: must be at least {least}; give {least} or more")
    if problems:
        raise InputError(problems)
