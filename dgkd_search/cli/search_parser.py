"""The parser of a search, and the help that names every command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.parser import ArgumentParser, add_options, part_lines
from dgkd_search.errors import InputError
from dgkd_search.study.strategies import PRUNERS, SAMPLERS
from dgkd_search.utils.tables import labeled

_GROUPS = {
    "data": "data",
    "chain": "chain",
    "recipe": "recipe (defaults by family and dataset)",
    "search": "search",
    "resources": "resources",
    "output": "output",
}
_WIDTH = 35  # columns of a command with its arguments in the help
_EPILOG = """\
samplers:
{samplers}

pruners:
{pruners}

other commands:
{commands}

exit codes: 0 success, 1 failure, 2 invalid input, 130 interrupted
"""


class SearchParser(ArgumentParser):
    """The parser of a search, which looks for installed packages only when the help needs them:
    the lookup takes as long as the rest of ``--version``."""

    @property
    def commands(self) -> Sequence[str]:
        return COMMANDS.names()

    def list_parts(self) -> str:
        return _EPILOG.format(
            commands="\n".join(command_lines()),
            samplers="\n".join(part_lines(SAMPLERS)),
            pruners="\n".join(part_lines(PRUNERS)),
        )

    def format_help(self) -> str:
        self.usage = f"dgkd-search [options] | {' | '.join(self.commands)}"
        return super().format_help()


def search_parser() -> ArgumentParser:
    """Return the parser of a search; values stay text until ``parse_options``."""
    parser = SearchParser(
        prog="dgkd-search",
        description="Find the best chain of assistants for densely guided knowledge distillation.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("dgkd-search"))
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file that sets any of the options below; the command line wins",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="resume the search in this run folder; budgets may be raised, resources may change",
    )
    add_options(parser, _GROUPS)
    return parser


def command_lines() -> list[str]:
    """Return a help line for each command; it says if a command's package can't be imported."""
    rows = []
    for name in COMMANDS.names():
        try:
            command = COMMANDS.get(name)
            usage, summary = f"{name} {command.arguments}".rstrip(), command.summary
        except InputError:
            usage, summary = name, "(its package can't be imported)"
        rows.append((f"  dgkd-search {usage}", summary))
    return labeled(rows, _WIDTH)
