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
_WIDTH = 35  # of commands with their arguments, beside what they do
_EPILOG = """\
samplers:
{samplers}

pruners:
{pruners}

other commands:
{commands}

exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else
"""


class SearchParser(ArgumentParser):
    """Commands and parts of installed packages are looked for when they are asked about alone:
    that takes as long as all else of ``--version``."""

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
    """The parser of a search; values stay texts, ``parse_options`` gives them their meaning."""
    parser = SearchParser(
        prog="dgkd-search",
        description="Find the best chain of assistants for densely guided knowledge distillation.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("dgkd-search"))
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file that sets any option below; options win"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with the search in this folder; budgets may be raised, resources change",
    )
    add_options(parser, _GROUPS)
    return parser


def command_lines() -> list[str]:
    """Every command with what it does; one whose package can't be loaded is named as such."""
    rows = []
    for name in COMMANDS.names():
        try:
            command = COMMANDS.get(name)
            usage, summary = f"{name} {command.arguments}".rstrip(), command.summary
        except InputError:
            usage, summary = name, "(its package can't be loaded)"
        rows.append((f"  dgkd-search {usage}", summary))
    return labeled(rows, _WIDTH)
