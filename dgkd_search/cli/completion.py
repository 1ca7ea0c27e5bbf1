"""What makes a shell complete commands, options and their values; shtab writes it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from dgkd_search.cli.commands import COMMANDS, Command
from dgkd_search.cli.parser import ArgumentParser
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.options import OPTIONS

SHELLS = ("bash", "zsh", "tcsh")
_FILES = {"PATH", "FILE", "RUN", "BEST"}
_FOLDERS = {"DIR"}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dgkd-search completion",
        description="Print what completes commands, options and values on Tab. In ~/.bashrc: "
        'eval "$(dgkd-search completion bash)"; for zsh, write it to a file _dgkd-search in a '
        "folder of $fpath.",
        allow_abbrev=False,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    return parser


def completion(shell: str) -> str:
    """The script for a shell, of ``SHELLS``."""
    import shtab

    search = search_parser()
    search.add_installed()
    known = search.add_subparsers(metavar="command")
    for command in COMMANDS.load_all()[0]:
        if command.name == "completion":
            continue
        parser = command.parser()
        parser.add_installed()
        known.add_parser(command.name, parents=[parser], add_help=False, help=parser.description)
    shells = known.add_parser("completion", help="Print what completes this command on Tab.")
    shells.add_argument("shell", choices=SHELLS)
    words = _words()
    for parser in (search, *known.choices.values()):
        for action in parser._actions:
            _complete(action, words, shtab.FILE, shtab.DIRECTORY)
    return str(shtab.complete(search, shell))


def _complete(
    action: Any, words: Mapping[str, tuple[str, ...]], files: object, folders: object
) -> None:
    """Say what an option's values are."""
    if action.dest in words and action.nargs != 0:
        action.choices = words[action.dest]
    elif action.metavar in _FILES:
        action.complete = files
    elif action.metavar in _FOLDERS:
        action.complete = folders


def _words() -> dict[str, tuple[str, ...]]:
    """The values that an option's own rule knows, by the option's name."""
    return {
        option.name: tuple(option.parse.choices)
        for option in OPTIONS.known()
        if hasattr(option.parse, "choices")
    }


def _act(known: argparse.Namespace) -> int:
    print(completion(known.shell))
    return 0


COMMANDS.register(
    Command(
        "completion",
        "bash",
        "what completes commands and options on Tab, for your shell",
        _parser,
        _act,
    ),
    origin="",
)
