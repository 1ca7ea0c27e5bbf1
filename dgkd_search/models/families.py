"""A family of networks: members of one design, ordered by size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from dgkd_search.errors import InputError
from dgkd_search.models.architecture import Architecture

Design = Literal["residual", "plain", "benchmark", "imagenet", "narrow"]
DESIGNS: tuple[Design, ...] = get_args(Design)


@dataclass(frozen=True)
class Member:
    """One network of a family.

    Attributes:
        name: unique in the family, for example ``resnet20``.
        size: orders the family from small to large: declared depth in layers or, where members
            differ in width too, parameters.
        default_candidate: whether a search may choose it as an assistant unasked; other members
            take part only when they are named.
        shared_axes: what it has in common with some others, such as a width: between two members
            that share an axis, a search chooses along it.
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
        members: kept sorted by size, then name, in whatever order they are given.
        build: makes the structure of an architecture of this family, mapping images
            [N, channels, image_size, image_size] to logits [N, classes]; weights are drawn by
            ``dgkd_search.models.build`` or, for a family with an origin, by itself.
        origin: module that makes it known; empty for those that are built in.
        code: checksum of the code that its networks come from; empty likewise.
        ends: largest and smallest model of the chain that a search takes unasked; None for those
            of the family.
        tiny_ends: likewise for data that is learnt in seconds; None for ``ends``.
        design: what the networks are trained like by default: ``residual`` ones, ``plain`` ones
            without shortcuts, those of the field's CIFAR-100 ``benchmark``, ``imagenet``'s, or
            ``narrow`` ones; see ``config.recipes``.

    Raises:
        ValueError: two members share a name, ends aren't two members of which the first is larger,
            or the design is none of ``DESIGNS``.
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
                f"family {self.name!r}: members named twice: {', '.join(duplicates)}; "
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
                f"from small to large there are {', '.join(sizes)}"
            )

    def default_ends(self, tiny: bool) -> tuple[str, str]:
        """Largest and smallest model of the default chain; ``tiny`` for data learnt in seconds."""
        ends = (self.tiny_ends if tiny else None) or self.ends
        return ends or (self.members[-1].name, self.members[0].name)

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

    def architectures(
        self, classes: int, channels: int, image_size: int
    ) -> Callable[[str], Architecture]:
        """The members for some data, by name; see ``Architecture``."""

        def named(name: str) -> Architecture:
            return Architecture(
                self.name, name, classes, channels, image_size, self.origin, self.code
            )

        return named

    def between(self, teacher: str, student: str) -> tuple[str, ...]:
        """Names of the pool's members strictly between two in size, largest first.

        Empty where none lies between, so also where the teacher is no larger than the student.

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
