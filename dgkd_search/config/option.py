"""The class of an option, with its rule, its help line and its scope."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from dgkd_search.config.parsers import OptionParser


class Scope(Enum):
    """The subject of an option, which decides where it is stored and whether it may change."""

    STUDY = "what is searched, and how models are trained"
    EXTENT = "how long the search runs"
    PLACE = "paths of data and stages"
    THREADS = "thread count, which affects the last bits of weights"
    RESOURCES = "machines, disk space and services"
    SESSION = "a single call and its output"

    @property
    def changeable(self) -> bool:
        """Whether ``--resume`` may change the value."""
        return self not in (Scope.STUDY, Scope.THREADS)

    @property
    def in_best(self) -> bool:
        """Whether best.yaml stores the value, which must then be meaningful on any machine."""
        return self in (Scope.STUDY, Scope.EXTENT)

    @property
    def in_config(self) -> bool:
        """Whether config.yaml stores the value."""
        return self is not Scope.SESSION

    @property
    def for_retraining(self) -> bool:
        """Whether ``train`` reads the value from the config.yaml beside a best.yaml."""
        return self in (Scope.PLACE, Scope.THREADS)


@dataclass(frozen=True)
class Option:
    """One option of a search or a command.

    Attributes:
        name: name with underscores.
        default: value if none is given; None means that it depends on the family and the dataset.
        group: group in the help; commands take options by group.
        parse: rule that turns a text, or a value of YAML or Python, into the option's value.
        metavar: placeholder of the value in the help.
        help: one line; ``{choices}`` is replaced by the choices of ``parse``.
    """

    name: str
    default: Any
    group: str
    parse: OptionParser
    metavar: str | None
    help: str
    scope: Scope = Scope.STUDY
