"""Options that packages add: made known here, and handed to the parts that take them."""

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
# Arguments of commands and functions that take options by their names too.
_RESERVED = {
    *("best", "callback", "chain", "config", "formats", "help", "log", "observer", "rate"),
    *("repeats", "replicate", "resume", "run", "source", "tell", "to", "version"),
}
# Rules with the words of the product's own options, for the types that would convert.
_TYPES: tuple[tuple[object, OptionParser], ...] = (
    (bool, flag),
    (int, within(Range(whole=True))),
    (float, within(Range())),
    (str, text),
)


@dataclass(frozen=True)
class _ExtraRule:
    """A package's rule, of which nothing else comes than a plain value or a ``ValueError``."""

    parse: Callable[[Any], object]

    def __call__(self, value: object) -> OptionValue:
        parts = value if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(part, bool | int | float | str | PathLike) for part in parts):
            raise ValueError("must be one value or a list of values")
        result = self._read(value)
        if self._read(_written(result)) != result:
            raise ValueError(f"is read as {result!r}, which isn't read as itself; mend its rule")
        return result

    def _read(self, value: object) -> OptionValue:
        try:
            return plain_value(self.parse(value))
        except ValueError:
            raise
        except Exception as error:  # whatever a user's function raises
            raise ValueError(f"can't be read ({one_line(error, 200, with_class=True)})") from error


def _written(value: OptionValue) -> object:
    """What a ``--config`` file that holds a value gives again: texts, but for bools."""
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
    """Make an option known, as ``--NAME``; the parts that take it name it as one of theirs.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.options`` under the option's name.

    Args:
        name: letters, digits and dashes or underscores.
        parse: its rule: bool, int, float, str or a function of a text, of a value from Python or,
            where there are several in a ``--config`` file, of a list of texts. It returns a bool,
            int, finite float, printable text or a tuple of these, or raises a ``ValueError`` that
            says what a value must be. It reads what it has returned.
        default: the value where none is given, or None; of a bool, which is a flag, False.
        help: one line.
        metavar: what stands for its value in the help.
        group: of the help: ``data``, ``chain``, ``recipe``, ``search``, ``resources`` or
            ``output``, which a search takes, or ``export``, which the command ``export`` takes.
        scope: what it is about. It decides whether config.yaml and best.yaml note it, and whether
            it may change on ``--resume``.

    Raises:
        ValueError: the name is taken or is none, or an argument breaks its rule.
    """
    if not isinstance(scope, Scope):
        raise ValueError(f"option {name!r}: scope {scope!r} is none of dgkd_search.Scope")
    rule = _ExtraRule(next((own for kind, own in _TYPES if kind is parse), parse))
    option = Option(canonical_name(name), default, group, rule, metavar, help, scope)
    for problem in _problems(option):
        raise ValueError(f"option {name!r}: {problem}")
    OPTIONS.register(option, calling_module())


def _problems(option: Option) -> Iterable[str]:
    """What is wrong with what a package registers."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", option.name):
        yield "a name has small letters, digits and dashes or underscores between them"
    if option.name in _RESERVED or keyword.iskeyword(option.name):
        yield "the name has another meaning in a command or in Python; choose another"
    if option.group not in GROUPS:
        yield f"group {option.group!r} is unknown; choose from {', '.join(GROUPS)}"
    if not option.help.strip() or len(option.help.splitlines()) != 1:
        yield "help must be one line"
    if option.default is True:
        yield "default True: a flag can only be turned on; name what it turns on"
    if option.default is not None:
        try:
            if option.parse(option.default) != option.default:
                yield f"default {option.default!r} is read as another value"
        except ValueError as error:
            yield f"default {option.default!r}: {error}"


def taken_by_parts(options: Options) -> dict[str, OptionValues]:
    """What the parts of a search that were chosen take, by the kind of part.

    Raises:
        InputError: an option isn't registered, or its scope doesn't fit.
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
            f"{label}: takes --{option.replace('_', '-')}, which isn't of Scope.STUDY and may "
            "change on resume; mend its package"
            for option in names
            if kind == "loss" and scope_of(option) is not Scope.STUDY
        ]
    if problems:
        raise InputError(problems)
    return taken


def taken_values(options: Options, names: Sequence[str], label: str) -> OptionValues:
    """The values of the options that a part takes: those given, or their defaults.

    Args:
        label: how messages call the part.

    Raises:
        InputError: no package has registered one of them.
    """
    added = OPTIONS.added()
    if missing := [name for name in names if canonical_name(name) not in added]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise InputError(f"{label}: takes {flags}, which nobody registers; mend its package")
    return tuple((name, options.value(name)) for name in sorted(map(canonical_name, names)))


def check_options_known(names: Iterable[str], label: str) -> None:
    """That all options are known which a file of an earlier session names.

    Args:
        label: the file or folder.

    Raises:
        InputError: some aren't: their package isn't installed any more.
    """
    if missing := [name for name in names if name not in OPTIONS]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(missing))
        raise InputError(
            f"{label}: was made with {flags}, which no package that is installed adds; install the "
            "one that does and try again, nothing was changed"
        )
