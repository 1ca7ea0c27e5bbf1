"""What makes a shell complete commands, options and their values; shtab writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dgkd_search.cli.commands import Command
from dgkd_search.cli.parser import ArgumentParser
from dgkd_search.config.options import Options

SHELLS = ("bash", "zsh", "tcsh")
_FILES = {"PATH", "FILE", "RUN", "BEST"}
_FOLDERS = {"DIR"}


def completion_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dgkd-search completion",
        description="Print what completes commands, options and values on Tab. In ~/.bashrc: "
        'eval "$(dgkd-search completion bash)"; for zsh, write it to a file _dgkd-search in a '
        "folder of $fpath.",
        allow_abbrev=False,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    return parser


def completion(shell: str, search: ArgumentParser, commands: Mapping[str, Command]) -> str:
    """The script for a shell.

    Args:
        shell: of ``SHELLS``.
        search: the parser of the search; it is added to.
        commands: those beside it, by name.
    """
    import shtab

    known = search.add_subparsers(metavar="command")
    for name, command in commands.items():
        parser = command.parser()
        known.add_parser(name, parents=[parser], add_help=False, help=parser.description)
    shells = known.add_parser("completion", help="Print what completes this command on Tab.")
    shells.add_argument("shell", choices=SHELLS)
    for parser in (search, *known.choices.values()):
        for action in parser._actions:
            _complete(action, shtab.FILE, shtab.DIRECTORY)
    return str(shtab.complete(search, shell))


def _complete(action: Any, files: object, folders: object) -> None:
    """Say what an option's values are."""
    words = _WORDS.get(action.dest)
    if words is not None and action.nargs != 0:
        action.choices = words
    elif action.metavar in _FILES:
        action.complete = files
    elif action.metavar in _FOLDERS:
        action.complete = folders


# An option's own rule knows its words.
_WORDS = {
    option.name: tuple(option.metadata["parse"].choices)
    for option in fields(Options)
    if hasattr(option.metadata["parse"], "choices")
}
