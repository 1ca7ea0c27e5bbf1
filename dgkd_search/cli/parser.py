"""A parser for command lines that reports every unknown word and leaves values as text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn, Protocol, TypeVar

from dgkd_search.config.option import Option
from dgkd_search.config.options import ALIASES, OPTIONS, canonical_name
from dgkd_search.config.parse_options import closest, load_module_of
from dgkd_search.errors import InputError
from dgkd_search.utils.registry import Registry
from dgkd_search.utils.tables import labeled

_CHOICES = "{choices}"  # in the help of an option
_NAME = 12  # columns of a part's name in the help


class ArgumentParser(argparse.ArgumentParser):
    """The parser of a command, or of the search, which has ``commands`` besides it.

    A package that adds an option is imported if the option is given; the help imports all of them.
    """

    @property
    def commands(self) -> Sequence[str]:
        """Names of commands that may replace the first option."""
        return ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._option_groups: dict[str, argparse._ArgumentGroup] = {}
        self._taken: dict[str, Option] = {}
        self._module: str | None = None  # the value of --models

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse as ``parse_args`` does, but report every unknown word and the closest option.

        Raises:
            InputError: an unknown or incomplete option.
        """
        words = _attach_values(arguments)
        self._module = _value_of("--models", words)  # argparse runs --help before it reads the rest
        args, unknown = self.parse_known_args(words)
        if unknown and self._add_package_options(unknown, getattr(args, "models", None)):
            args, unknown = self.parse_known_args(words)
        flags = [flag for action in self._actions for flag in action.option_strings]
        if self._option_groups:
            flags += map(_flag, OPTIONS.added())
        problems: list[str] = []
        resumed = getattr(args, "resume", None) is not None and self._module is None
        of_module = "; if your own module adds it, name the module with --models" if resumed else ""
        for word in unknown:
            if word.startswith("-"):
                nearest = closest(word.split("=")[0], flags)
                problems.append(f"{word}: unknown option{nearest}{of_module}")
            elif not problems:
                kind = "unknown command" if self.commands else "unexpected argument"
                problems.append(f"{word}: {kind}{closest(word, self.commands)}")
        if problems:
            raise InputError(problems)
        return args

    def add_group(self, name: str, title: str) -> None:
        """Accept the options of a group, by its name in the table of options."""
        self._option_groups[name] = self.add_argument_group(title)

    def add_option(self, option: Option) -> bool:
        """Add an option if its group is accepted; return whether it was added."""
        group = self._option_groups.get(option.group)
        if group is None or _flag(option.name) in self._option_string_actions:
            return False
        self._taken[option.name] = option
        help = option.help.replace("%", "%%")
        if option.default is False:
            group.add_argument(_flag(option.name), action="store_const", const=True, help=help)
        else:
            group.add_argument(_flag(option.name), metavar=option.metavar or "NAME", help=help)
        for alias in (old for old, new in ALIASES.items() if new == option.name):
            group.add_argument(_flag(alias), dest=alias, help=argparse.SUPPRESS)
        return True

    def add_installed(self) -> None:
        """Add all options of installed packages whose groups are accepted."""
        added = OPTIONS.added() if self._option_groups else ()
        for name in (n for n in added if _flag(n) not in self._option_string_actions):
            try:
                self.add_option(OPTIONS.get(name))
            except InputError as error:
                unloaded = self.add_argument_group("options of a package that can't be imported")
                unloaded.add_argument(_flag(name), help=str(error).replace("%", "%%"))

    def list_parts(self) -> str | None:
        """Return the text below the options in the help; may import packages."""
        return None

    def format_help(self) -> str:
        if self._module is not None:  # the help also lists the parts of the user's module
            from dgkd_search.models import load_families

            load_families(self._module)
        self.add_installed()
        self.epilog = self.list_parts()
        for action in self._actions:
            option = self._taken.get(action.dest)
            if option is not None and action.help and _CHOICES in action.help:
                choices = ", ".join(
                    getattr(option.parse, "choices", ())
                )  # includes those of packages
                action.help = action.help.replace(_CHOICES, choices.replace("%", "%%"))
        return super().format_help()

    def _add_package_options(self, words: Sequence[str], module: str | None) -> bool:
        """Add the options of packages that occur among the words; return whether there are any.

        Args:
            module: the user's own, which may register options.

        Raises:
            InputError: the module or a package can't be imported.
        """
        if not self._option_groups:
            return False
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        names = [canonical_name(flag.removeprefix("--")) for flag in flags]
        load_module_of({**dict.fromkeys(names), "models": module})
        added = [OPTIONS.get(name, _flag(name)) for name in OPTIONS.added() if name in names]
        return bool([option for option in added if self.add_option(option)])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    """Return the value of a flag, or None if the flag isn't given."""
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if name == flag:
            return value or following
    return None


def _attach_values(arguments: Sequence[str]) -> list[str]:
    """Turn ``--lr -1e-3`` into ``--lr=-1e-3``: argparse would read such a value as an option."""
    result: list[str] = []
    for word in arguments:
        option = bool(result) and result[-1].startswith("--") and "=" not in result[-1]
        if option and re.match(r"-[\d.]", word):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def add_options(
    parser: ArgumentParser, groups: Mapping[str, str], without: Sequence[str] = ()
) -> None:
    """Add the options of some groups; their values stay text until ``parse_options``.

    Args:
        groups: titles by group.
        without: names of options to leave out, with underscores.
    """
    for name, title in groups.items():
        parser.add_group(name, title)
    for option in OPTIONS.known():
        if option.name not in without:
            parser.add_option(option)


class Part(Protocol):
    """A part of a search that users choose by its name, such as a sampler."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...


P = TypeVar("P", bound=Part)


def part_lines(registry: Registry[P]) -> list[str]:
    """Return a help line for each part in a registry; packages that add parts are imported."""
    rows = []
    for name in registry.names():
        try:
            summary = registry.get(name).summary
        except InputError:
            summary = "(its package can't be imported)"
        rows.append((f"  {name}", summary))
    return labeled(rows, _NAME)
