"""Families of networks: members of one design, ordered by size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from torch import nn

from dgkd_search.errors import InputError
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.construction import start_weights

Design = Literal["residual", "plain", "benchmark", "imagenet", "narrow"]
DESIGNS: tuple[Design, ...] = get_args(Design)


@dataclass(frozen=True)
class Member:
    """One network of a family.

    Attributes:
        name: unique in the family, for example ``resnet20``.
        size: orders the members of a family: the declared depth in layers or, if widths differ too,
            the number of parameters.
        default_candidate: whether it is a candidate assistant by default; other members must be
            named with ``--assistants``.
        shared_axes: properties that it shares with other members, for example a width. If teacher
            and student share an axis, default assistants share it too.
    """

    name: str
    size: int
    default_candidate: bool = True
    shared_axes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Family:
    """Networks of one design that differ in depth or width.

    Attributes:
        name: unique among the registered families.
        members: the networks, in any order; stored sorted by size, then name.
        build: returns a network that maps images [N, channels, image_size, image_size] to logits
            [N, classes]. ``dgkd_search.models.build`` draws the weights of built-in families;
            for a family with an origin, ``build`` draws them.
        origin: module that registers the family; empty for built-in families.
        code: checksum of the code of its networks; empty for built-in families.
        ends: default teacher and student; None for the largest and the smallest member.
        tiny_ends: the same for data that a model learns in seconds; None for ``ends``.
        design: selects the default recipe: ``residual``, ``plain`` (no shortcuts), ``benchmark``
            (as in CIFAR-100 distillation benchmarks), ``imagenet`` or ``narrow``; see
            ``config.recipes``.

    Raises:
        ValueError: two members share a name, ``ends`` or ``tiny_ends`` are not two members with
            the larger first, or the design is unknown.
    """

    name: str
    members: tuple[Member, ...]
    build: Callable[[Architecture], nn.Module]
    origin: str = ""
    code: str = ""
    ends: tuple[str, str] | None = None
    tiny_ends: tuple[str, str] | None = None
    design: Design = "residual"

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(
                f"family {self.name!r}: duplicate members: {', '.join(duplicates)}; "
                "give each its own name"
            )
        ordered = tuple(sorted(self.members, key=lambda member: (member.size, member.name)))
        object.__setattr__(self, "members", ordered)
        self._check_ends("ends", self.ends)
        self._check_ends("tiny_ends", self.tiny_ends)
        if self.design not in DESIGNS:
            raise ValueError(
                f"family {self.name!r}: design {self.design!r} is unknown; choose from "
                f"{', '.join(DESIGNS)}"
            )

    def _check_ends(self, label: str, ends: tuple[str, str] | None) -> None:
        if ends is None:
            return
        sizes = {member.name: member.size for member in self.members}
        known = isinstance(ends, tuple) and len(ends) == 2 and all(end in sizes for end in ends)
        if not known or sizes[ends[0]] <= sizes[ends[1]]:
            raise ValueError(
                f"family {self.name!r}: {label} {ends!r} must be two members, the larger first; "
                f"members from small to large: {', '.join(sizes)}"
            )

    def default_ends(self, tiny: bool) -> tuple[str, str]:
        """Return the default teacher and student; ``tiny`` selects those for tiny data."""
        ends = (self.tiny_ends if tiny else None) or self.ends
        return ends or (self.members[-1].name, self.members[0].name)

    def member(self, name: str) -> Member:
        """Return the member called ``name``.

        Raises:
            InputError: the family has no such member.
        """
        for member in self.members:
            if member.name == name:
                return member
        choices = ", ".join(member.name for member in self.members)
        raise InputError(f"model {name!r}: not in family {self.name!r}; choose from {choices}")

    def architectures(
        self, classes: int, channels: int, image_size: int
    ) -> Callable[[str], Architecture]:
        """Return a function from a member's name to its architecture; see ``Architecture``.

        The function constructs a custom network twice, at its first call for a name, to find the
        weights that its constructor loads. It raises ``InputError`` if that fails.
        """
        members = {member.name for member in self.members}

        @cache  # not for the whole process: the user may replace the file of the weights
        def named(name: str) -> Architecture:
            described = self.describe(name, classes, channels, image_size)
            if not self.origin or name not in members:
                return described
            return replace(described, start=start_weights(self.build, described))

        return named

    def describe(self, name: str, classes: int, channels: int, image_size: int) -> Architecture:
        """Return an architecture without its start weights, which is enough to measure it."""
        return Architecture(self.name, name, classes, channels, image_size, self.origin, self.code)

    def between(self, teacher: str, student: str) -> tuple[str, ...]:
        """Return the default candidates strictly between teacher and student in size.

        Returns:
            Names of members, largest first; empty if the teacher is not larger than the student.

        Raises:
            InputError: the family lacks the teacher or the student.
        """
        upper, lower = self.member(teacher), self.member(student)
        axes = upper.shared_axes & lower.shared_axes
        inside = (
            member.name
            for member in self.members
            if lower.size < member.size < upper.size
            and member.default_candidate
            and axes <= member.shared_axes
        )
        return tuple(inside)[::-1]
