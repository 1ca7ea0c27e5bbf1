"""Shell completion of commands, options and their values; shtab writes the scripts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from dgkd_search.cli.commands import COMMANDS, Command
from dgkd_search.cli.parser import ArgumentParser
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.options import OPTIONS
from dgkd_search.errors import one_line

SHELLS = ("bash", "zsh", "tcsh")
_FILES = {"PATH", "FILE", "RUN", "BEST"}
_FOLDERS = {"DIR"}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dgkd-search completion",
        description="Print the script by which a shell completes commands, options and values. "
        'For bash, add eval "$(dgkd-search completion bash)" to ~/.bashrc; for zsh, write the '
        "script to a file _dgkd-search in a folder of $fpath.",
        allow_abbrev=False,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    return parser


def completion(shell: str) -> str:
    """Return the completion script for one of ``SHELLS``."""
    import shtab

    search = search_parser()
    search.add_installed()
    commands = search.add_subparsers(metavar="command")
    for command in COMMANDS.load_all()[0]:
        if command.name == "completion":
            continue
        parser = command.parser()
        parser.add_installed()
        commands.add_parser(command.name, parents=[parser], add_help=False, help=parser.description)
    shells = commands.add_parser("completion", help="Print a completion script.")
    shells.add_argument("shell", choices=SHELLS)
    words = _words()
    for parser in (search, *commands.choices.values()):
        for action in parser._actions:
            if action.help:  # a package may add options; its text becomes part of the script
                action.help = one_line(action.help)
            _complete(action, words, shtab.FILE, shtab.DIRECTORY)
    return str(shtab.complete(search, shell))


def _complete(
    action: Any, words: Mapping[str, tuple[str, ...]], files: object, folders: object
) -> None:
    """Give an option's values, or the kind of path, to shtab."""
    if action.dest in words and action.nargs != 0:
        action.choices = words[action.dest]
    elif action.metavar in _FILES:
        action.complete = files
    elif action.metavar in _FOLDERS:
        action.complete = folders


def _words() -> dict[str, tuple[str, ...]]:
    """Return the values that an option's rule lists, by the option's name."""
    return {
        option.name: tuple(option.parse.choices)
        for option in OPTIONS.known()
        if hasattr(option.parse, "choices")
    }


def _act(args: argparse.Namespace) -> int:
    print(completion(args.shell))
    return 0


COMMANDS.register(
    Command(
        "completion",
        "bash",
        "print a script for Tab completion in your shell",
        _parser,
        _act,
    ),
    origin="",
)
