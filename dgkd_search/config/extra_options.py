"""Options of other packages: their registration, and their values for the parts that take them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from dgkd_search.config.option import Option, Scope
from dgkd_search.config.options import OPTIONS, Options, canonical_name, scope_of
from dgkd_search.config.parsers import OptionParser, flag, text, within
from dgkd_search.errors import InputError, one_line
from dgkd_search.study.strategies import PRUNERS, SAMPLERS
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.utils.option_values import OptionValue, OptionValues, plain_value
from dgkd_search.utils.registry import calling_module
from dgkd_search.utils.rules import Range

GROUPS = ("data", "chain", "recipe", "search", "resources", "output", "export")
# Names of other arguments of the commands and functions that also take options by name.
_RESERVED = {
    *("best", "callback", "chain", "config", "formats", "help", "log", "observer", "rate"),
    *("repeats", "replicate", "resume", "run", "source", "tell", "to", "version"),
}
# Rules that replace types, so that messages equal those of built-in options.
_TYPES: tuple[tuple[object, OptionParser], ...] = (
    (bool, flag),
    (int, within(Range(whole=True))),
    (float, within(Range())),
    (str, text),
)


@dataclass(frozen=True)
class _ExtraRule:
    """A package's rule, restricted to return a plain value or raise a ``ValueError``."""

    parse: Callable[[Any], object]

    def __call__(self, value: object) -> OptionValue:
        parts = value if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(part, bool | int | float | str | PathLike) for part in parts):
            raise ValueError("must be one value or a list of values")
        result = self._read(value)
        if self._read(_written(result)) != result:
            raise ValueError(f"is parsed as {result!r}, which must parse as itself; fix its rule")
        return result

    def _read(self, value: object) -> OptionValue:
        try:
            return plain_value(self.parse(value))
        except ValueError:
            raise
        except Exception as error:  # the rule is a user's function
            raise ValueError(
                f"can't be parsed ({one_line(error, 200, with_class=True)})"
            ) from error


def _written(value: OptionValue) -> object:
    """Return a value as it is read from a ``--config`` file: a bool, or text."""
    if isinstance(value, tuple):
        return [_written(part) for part in value]
    return value if isinstance(value, bool) else str(value)


def register_option(
    name: str,
    parse: Callable[[Any], object],
    default: object,
    help: str,
    metavar: str = "X",
    group: str = "search",
    scope: Scope = Scope.STUDY,
) -> None:
    """Register an option, ``--NAME``; a part such as a sampler declares that it takes the option.

    Call this function at the top of a module. Users name the module with ``--models``; a package
    declares it as an entry point of the group ``dgkd_search.options`` under the option's name.

    Args:
        name: letters, digits and dashes or underscores.
        parse: the rule: bool, int, float, str or a function. The function is called with a text, a
            value from Python, or a list of texts if a ``--config`` file has a list. It returns a
            bool, int, finite float, printable text or a tuple of these, or raises a ``ValueError``
            that says what a value must be. It must return its own results unchanged.
        default: the value if none is given, or None; False for a bool, which is a flag.
        help: one line.
        metavar: placeholder of the value in the help.
        group: group in the help: ``data``, ``chain``, ``recipe``, ``search``, ``resources`` or
            ``output`` for options of a search, ``export`` for options of the command ``export``.
        scope: subject of the option. It decides whether config.yaml and best.yaml store the value,
            and whether ``--resume`` may change it.

    Raises:
        ValueError: the name is invalid or taken, or another argument is invalid.
    """
    if not isinstance(scope, Scope):
        raise ValueError(f"option {name!r}: scope {scope!r} must be a dgkd_search.Scope")
    rule = _ExtraRule(next((own for kind, own in _TYPES if kind is parse), parse))
    option = Option(canonical_name(name), default, group, rule, metavar, help, scope)
    for problem in _problems(option):
        raise ValueError(f"option {name!r}: {problem}")
    OPTIONS.register(option, calling_module())


def _problems(option: Option) -> Iterable[str]:
    """Yield the problems with an option that a package registers."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", option.name):
        yield "a name has lower-case letters, digits, and dashes or underscores between them"
    if option.name in _RESERVED or keyword.iskeyword(option.name):
        yield "the name is reserved by a command or by Python; choose another"
    if option.group not in GROUPS:
        yield f"group {option.group!r} is unknown; choose from {', '.join(GROUPS)}"
    if not option.help.strip() or len(option.help.splitlines()) != 1:
        yield "help must be one line"
    if option.default is True:
        yield "default True: a flag can only be turned on; register the opposite flag"
    if option.default is not None:
        try:
            if option.parse(option.default) != option.default:
                yield f"default {option.default!r} is parsed as another value"
        except ValueError as error:
            yield f"default {option.default!r}: {error}"


def taken_by_parts(options: Options) -> dict[str, OptionValues]:
    """Return the options that the chosen parts take, by kind of part.

    Raises:
        InputError: an option isn't registered, or its scope is invalid for the part.
    """
    parts: dict[str, tuple[str, Sequence[str]]] = {
        "sampler": (options.sampler, SAMPLERS.get(options.sampler).options),
        "pruner": (options.pruner, PRUNERS.get(options.pruner).options),
        "loss": (options.loss, get_loss(options.loss).options),
    }
    problems: list[str] = []
    taken: dict[str, OptionValues] = {}
    for kind, (name, names) in parts.items():
        label = f"--{kind} {name}"
        try:
            taken[kind] = taken_values(options, names, label)
        except InputError as error:
            problems += error.messages
            continue
        problems += [
            f"{label}: takes --{option.replace('_', '-')}, whose scope must be Scope.STUDY; fix "
            "its package"
            for option in names
            if kind == "loss" and scope_of(option) is not Scope.STUDY
        ]
    if problems:
        raise InputError(problems)
    return taken


def taken_values(options: Options, names: Sequence[str], label: str) -> OptionValues:
    """Return the values, or else the defaults, of the options that a part takes.

    Args:
        label: name of the part in messages.

    Raises:
        InputError: an option isn't registered.
    """
    added = OPTIONS.added()
    if missing := [name for name in names if canonical_name(name) not in added]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise InputError(f"{label}: takes {flags}, which no package registers; fix its package")
    return tuple((name, options.value(name)) for name in sorted(map(canonical_name, names)))


def check_options_known(names: Iterable[str], label: str) -> None:
    """Check that all options in a file of an earlier session are known.

    Args:
        label: the file or folder.

    Raises:
        InputError: an option is unknown, as its package is no longer installed.
    """
    if missing := [name for name in names if name not in OPTIONS]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(missing))
        raise InputError(
            f"{label}: was written with {flags}, which no installed package adds; install the "
            "package that does, then try again"
        )
