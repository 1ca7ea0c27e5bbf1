"""The commands beside the search: what they are given in, lines out; no logic of their own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgkd_search.cli.parser import ArgumentParser, add_options, part_lines
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.parsers import SeveralNamed, within
from dgkd_search.errors import DgkdError, InputError
from dgkd_search.training.recipe import DROP_PROB
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.registry import Registry, calling_module
from dgkd_search.utils.rules import COUNT
from dgkd_search.utils.tables import labeled


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _count(option: str, value: str) -> int:
    try:
        return int(within(COUNT)(value))
    except ValueError as error:
        raise InputError(f"{option} {value}: {error}") from None


def _parser(name: str, description: str) -> ArgumentParser:
    return ArgumentParser(prog=f"dgkd-search {name}", description=description, allow_abbrev=False)


def _plot_parser() -> ArgumentParser:
    parser = _parser("plot", "Draw the figures of a run again.")
    parser.add_argument("run", metavar="RUN", help="folder that a search has made")
    return parser


def _plot(known: argparse.Namespace) -> int:
    from dgkd_search.results.figures import draw_figures
    from dgkd_search.results.manifest import open_readonly
    from dgkd_search.results.run_folder import RunFolder

    run = RunFolder(Path(known.run))
    for path in draw_figures(run, open_readonly(run)):
        print(path)
    return 0


def _report_parser() -> ArgumentParser:
    parser = _parser(
        "report",
        "Write the page of a run again, or one that compares several; the file needs no network.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder that a search has made")
    parser.add_argument(
        "--to", metavar="FILE", help="(RUN/report.html; of several runs: ./comparison.html)"
    )
    return parser


def _report(known: argparse.Namespace) -> int:
    from dgkd_search.api import write_report

    print(write_report(*known.runs, to=known.to))
    return 0


class _ExportParser(ArgumentParser):
    def list_parts(self) -> str:
        from dgkd_search.workflows.export_forms import FORMS  # torch is slow to import

        return "forms:\n" + "\n".join(part_lines(FORMS))


def _export_parser() -> ArgumentParser:
    parser = _ExportParser(
        prog="dgkd-search export",
        description="Write a student with its model card, and the forms it is deployed in.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", metavar="RUN", help="folder of a search or of a retrained student, or a best.yaml"
    )
    parser.add_argument("--to", metavar="DIR", required=True, help="folder to write into")
    parser.add_argument(
        "--formats",
        metavar="F,...",
        help="of those below; or none (all that can be made)",
    )
    _add_local_options(parser, "--models")
    add_options(parser, {"export": "of forms"})
    return parser


def _export(known: argparse.Namespace) -> int:
    from dgkd_search.workflows.export import export_run
    from dgkd_search.workflows.export_forms import FORMS

    formats = None
    if known.formats is not None:
        try:
            chosen = "" if known.formats == "none" else known.formats
            formats = SeveralNamed(FORMS.names, 0)(chosen)
        except ValueError as error:
            raise InputError(f"--formats {known.formats}: {error}, or none") from None
    for path in export_run(
        Path(known.source), Path(known.to), formats, _local_options(known), _log
    ):
        print(path)
    return 0


def _train_parser() -> ArgumentParser:
    parser = _parser(
        "train",
        "Train the chain of a best.yaml again, on training and validation images, each repeat with "
        "a seed of its own; the test set is read once a repeat.",
    )
    parser.add_argument("best", metavar="BEST", help="a best.yaml, or the folder it lies in")
    parser.add_argument("--repeats", metavar="N", default="3", help="how often (3)")
    parser.add_argument("--out", metavar="DIR", help="folder of the students (trained beside BEST)")
    _add_local_options(
        parser, "--teacher-weights", "--models", "--cpus-per-trial", "--gpus-per-trial"
    )
    return parser


def _train(known: argparse.Namespace) -> int:
    from dgkd_search.api import train

    repeats = _count("--repeats", known.repeats)
    result = train(known.best, known.out, repeats, _log, **_local_options(known))
    print(result)
    if result.problem is not None:
        raise DgkdError(f"the test set could not be read: {result.problem}")
    return 0


def _compare_parser() -> ArgumentParser:
    parser = _parser(
        "compare",
        "Teach one student by NOKD, KD, TAKD, DGKD and stochastic DGKD on one chain, with the same "
        "recipe and seeds. What the store has isn't trained again.",
    )
    parser.add_argument("chain", metavar="T,A,...,S", help="models, from the teacher on")
    parser.add_argument("--repeats", metavar="N", default="3", help="seeds of the student (3)")
    parser.add_argument(
        "--drop-prob", metavar="P", default="0.25", help="of stochastic DGKD (0.25)"
    )
    groups = {"data": "data", "chain": "chain", "recipe": "recipe", "resources": "resources"}
    unused = ("teacher", "student", "assistants", "max_assistants", "guidance", "drop_prob")
    add_options(parser, groups, (*unused, "drop_scope", "concurrency", "address"))
    parser.add_argument("--store", metavar="DIR", help="where stages are kept")
    return parser


def _compare(known: argparse.Namespace) -> int:
    values = {name: value for name, value in vars(known).items() if value is not None}
    chain = tuple(part.strip() for part in values.pop("chain").split(","))
    if len(chain) < 2:
        raise InputError(f"{','.join(chain)}: is no chain; name a teacher and a student, as T,A,S")
    from dgkd_search.store.location import NO_STORE

    if values.get("store") == NO_STORE:
        raise InputError(
            "--store none: the methods share their teacher; leave it out, or name a folder"
        )
    repeats, drop = _count("--repeats", values.pop("repeats")), values.pop("drop_prob")
    dropped = parse_options({**values, "drop_prob": drop}).drop_prob  # all problems at once
    if dropped.spread or len(dropped.values) > 1:
        raise InputError(f"--drop-prob {drop}: must be one value in {DROP_PROB.interval}")
    from dgkd_search.workflows.compare import compare, comparison_table, ladders, methods

    values |= {"teacher": chain[0], "student": chain[-1]}
    result = compare(methods(chain, dropped.values[0]), repeats, values, _log)
    print("\n".join([*comparison_table(result), "", *ladders(result)]))
    if repeats < 3:
        print("two seeds or one say little: their intervals are wide, or none")
    return 0


def _store_parser() -> ArgumentParser:
    from dgkd_search.cli.store import add_store_options

    parser = _parser("store", "List what the store holds, verify it, or make room in it.")
    add_store_options(parser)
    return parser


def _store(known: argparse.Namespace) -> int:
    from dgkd_search.cli.store import run_store_command

    return run_store_command(known)


def _doctor_parser() -> ArgumentParser:
    parser = _parser(
        "doctor",
        "Say what is installed, which devices there are, how much room the store has, and whether "
        "Ray starts; exit code 1 if a search would fail.",
    )
    parser.add_argument("--store", metavar="DIR", help="where stages are kept")
    parser.add_argument("--no-ray", action="store_true", help="don't start Ray")
    return parser


def _doctor(known: argparse.Namespace) -> int:
    from dgkd_search.workflows.doctor import examine

    store = None if known.store is None else Path(known.store).expanduser()
    problems = 0
    for finding in examine(store, not known.no_ray):
        rows = [(finding.name, finding.words)]
        if finding.problem:
            problems += 1
            rows.append(("", f"problem: {finding.problem}"))
        print("\n".join(labeled(rows, _FINDING)), flush=True)  # Ray takes seconds to be found
    print(pluralize(problems, "problem") if problems else "nothing stands in a search's way")
    return 1 if problems else 0


_FINDING = 19  # letters of what the doctor looks at
_LOCAL_OPTIONS = ("--data-dir", "--store")


def _add_local_options(parser: ArgumentParser, *more: str) -> None:
    """Options of the place, with the search's own help lines."""
    described = ArgumentParser()
    add_options(described, {"data": "", "chain": "", "resources": "", "output": ""})
    for action in described._actions:
        if action.option_strings and action.option_strings[0] in (*_LOCAL_OPTIONS, *more):
            parser.add_argument(action.option_strings[0], metavar=action.metavar, help=action.help)


def _local_options(known: argparse.Namespace) -> dict[str, str]:
    own = {"source", "best", "to", "out", "formats", "repeats"}
    return {k: v for k, v in vars(known).items() if k not in own and v is not None}


@dataclass(frozen=True)
class Command:
    """A command beside the search.

    Attributes:
        name: the word after ``dgkd-search``.
        arguments: what follows it, as usage lines show it.
        summary: what it does, for the help of the search.
        parser: makes the parser of what follows.
        act: does it; the exit code comes back.
    """

    name: str
    arguments: str
    summary: str
    parser: Callable[[], ArgumentParser]
    act: Callable[[argparse.Namespace], int]

    def run(self, arguments: Sequence[str]) -> int:
        return self.act(self.parser().parse(arguments))


COMMANDS = Registry[Command](
    "command",
    "dgkd_search.commands",
    (
        Command("plot", "RUN", "draw the figures of a run again", _plot_parser, _plot),
        Command(
            "report",
            "RUN...",
            "the page of a run again, or one that compares several",
            _report_parser,
            _report,
        ),
        Command(
            "export",
            "RUN --to DIR",
            "its student with a model card, as torch.export and as ONNX",
            _export_parser,
            _export,
        ),
        Command(
            "train",
            "BEST.YAML",
            "its chain again, on training and validation images",
            _train_parser,
            _train,
        ),
        Command(
            "compare",
            "T,A,S",
            "NOKD, KD, TAKD and DGKD side by side on one chain",
            _compare_parser,
            _compare,
        ),
        Command("store", "", "list what is stored, verify it, make room", _store_parser, _store),
        Command(
            "doctor",
            "",
            "what is installed, which devices, how much room; does Ray start?",
            _doctor_parser,
            _doctor,
        ),
    ),
)


def register_command(
    name: str,
    summary: str,
    add_arguments: Callable[[argparse.ArgumentParser], object],
    act: Callable[[argparse.Namespace], int | None],
    arguments: str = "",
) -> None:
    """Make a command known, as ``dgkd-search NAME``.

    Call it in a module of a package that has an entry point of the group ``dgkd_search.commands``
    under the command's name.

    Args:
        summary: what it does, in a few words.
        add_arguments: adds what it takes to its parser.
        act: does it, from what was parsed; gives the exit code, or None for 0. An ``InputError``
            is told in one line.
        arguments: what follows its name, as usage lines show it.

    Raises:
        ValueError: the name is taken.
    """

    def parser() -> ArgumentParser:
        made = _parser(name, summary)
        add_arguments(made)
        return made

    command = Command(name, arguments, summary, parser, lambda known: act(known) or 0)
    COMMANDS.register(command, calling_module())
