"""How command lines are read: every unknown word is reported, values stay texts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import NoReturn

from dgkd_search.config.options import ALIASES, Options, closest
from dgkd_search.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """Of a command or, where there are ``commands`` beside it, of the search."""

    commands: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """As ``parse_args``, but every unknown word is reported, with the nearest option.

        Raises:
            InputError: an unknown or incomplete option.
        """
        known, unknown = self.parse_known_args(_attach_values(arguments))
        flags = [flag for action in self._actions for flag in action.option_strings]
        problems: list[str] = []
        for word in unknown:
            if word.startswith("-"):
                problems.append(f"{word}: unknown option{closest(word.split('=')[0], flags)}")
            elif not problems:
                problems.append(f"{word}: no command and no option{closest(word, self.commands)}")
        if problems:
            raise InputError(problems)
        return known


def _attach_values(arguments: Sequence[str]) -> list[str]:
    """``--lr -1e-3`` as ``--lr=-1e-3``: argparse would take such a value for an option."""
    result: list[str] = []
    for word in arguments:
        option = bool(result) and result[-1].startswith("--") and "=" not in result[-1]
        if option and re.match(r"-[\d.]", word):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def add_options(
    parser: argparse.ArgumentParser, groups: Mapping[str, str], without: Sequence[str] = ()
) -> None:
    """Add the options of some groups; values stay texts, ``Options.parse`` gives them meaning.

    Args:
        groups: titles by group.
        without: names of options, in underscores, to leave out.
    """
    added = {name: parser.add_argument_group(title) for name, title in groups.items()}
    for option in fields(Options):
        meta = option.metadata
        if meta["group"] not in added or option.name in without:
            continue
        group, name = added[meta["group"]], "--" + option.name.replace("_", "-")
        help = meta["help"]
        if "{choices}" in help:  # of those that are installed too, as they are now
            help = help.replace("{choices}", ", ".join(meta["parse"].choices))
        if option.default is False:
            group.add_argument(name, action="store_const", const=True, help=help)
        else:
            group.add_argument(name, metavar=meta["metavar"] or "NAME", help=help)
        for alias in (old for old, new in ALIASES.items() if new == option.name):
            spelling = "--" + alias.replace("_", "-")
            group.add_argument(spelling, dest=alias, help=argparse.SUPPRESS)
