"""What an option is: its rule, its line of help, and its scope."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from dgkd_search.config.parsers import OptionParser


class Scope(Enum):
    """What an option is about, from which follows where it is noted and when it may change."""

    STUDY = "what is searched, and how models are trained"
    EXTENT = "how much is done"
    PLACE = "where data and stages lie"
    THREADS = "what decides the last bits of weights on this machine"
    RESOURCES = "what of machines, rooms and services is used"
    SESSION = "one call: where and how it tells what it does"

    @property
    def changeable(self) -> bool:
        """Whether ``--resume`` takes another value."""
        return self not in (Scope.STUDY, Scope.THREADS)

    @property
    def in_best(self) -> bool:
        """Whether best.yaml notes it: it means something to whoever is given the file."""
        return self in (Scope.STUDY, Scope.EXTENT)

    @property
    def in_config(self) -> bool:
        """Whether config.yaml notes it."""
        return self is not Scope.SESSION

    @property
    def for_retraining(self) -> bool:
        """Whether ``train`` takes it from the config.yaml beside a best.yaml."""
        return self in (Scope.PLACE, Scope.THREADS)


@dataclass(frozen=True)
class Option:
    """One option of a search or a command.

    Attributes:
        name: in underscores.
        default: its value where none is given; None means that the family and the dataset decide.
        group: of the help that it stands in, which is also that of the commands that take it.
        parse: its rule: from a text of a command line, a value of YAML or of Python.
        metavar: what stands for its value in the help.
        help: one line; ``{choices}`` stands for those of ``parse``.
    """

    name: str
    default: Any
    group: str
    parse: OptionParser
    metavar: str | None
    help: str
    scope: Scope = Scope.STUDY
