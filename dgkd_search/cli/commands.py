"""The commands besides the search: they parse arguments and print; the logic is elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgkd_search.cli.output import say, say_error
from dgkd_search.cli.parser import ArgumentParser, add_options, part_lines
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.parsers import SeveralNamed, within
from dgkd_search.errors import DgkdError, InputError
from dgkd_search.training.recipe import DROP_PROB
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.registry import Registry, calling_module
from dgkd_search.utils.rules import COUNT
from dgkd_search.utils.tables import labeled


def _count(option: str, value: str) -> int:
    try:
        return int(within(COUNT)(value))
    except ValueError as error:
        raise InputError(f"{option} {value}: {error}") from None


def _parser(name: str, description: str) -> ArgumentParser:
    return ArgumentParser(prog=f"dgkd-search {name}", description=description, allow_abbrev=False)


def _plot_parser() -> ArgumentParser:
    parser = _parser("plot", "Redraw the figures of a run.")
    parser.add_argument("run", metavar="RUN", help="run folder of a search")
    return parser


def _plot(args: argparse.Namespace) -> int:
    from dgkd_search.results.figures import draw_figures
    from dgkd_search.results.manifest import open_readonly
    from dgkd_search.results.run_folder import RunFolder

    run = RunFolder(Path(args.run))
    for path in draw_figures(run, open_readonly(run)):
        say(path)
    return 0


def _report_parser() -> ArgumentParser:
    parser = _parser(
        "report",
        "Write the report page of a run, or a page that compares several runs. The page is one "
        "file and needs no network.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folder of a search")
    parser.add_argument(
        "--to",
        metavar="FILE",
        help="file to write (default: RUN/report.html; for several runs: ./comparison.html)",
    )
    return parser


def _report(args: argparse.Namespace) -> int:
    from dgkd_search.api import write_report

    say(write_report(*args.runs, to=args.to))
    return 0


class _ExportParser(ArgumentParser):
    def list_parts(self) -> str:
        from dgkd_search.workflows.export_forms import FORMS  # torch is slow to import

        return "formats:\n" + "\n".join(part_lines(FORMS))


def _export_parser() -> ArgumentParser:
    parser = _ExportParser(
        prog="dgkd-search export",
        description="Write a student with its model card, and export it for deployment.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="RUN",
        help="folder of a search or of a student from `train`, or a best.yaml",
    )
    parser.add_argument("--to", metavar="DIR", required=True, help="folder to write to")
    parser.add_argument(
        "--formats",
        metavar="F,...",
        help="formats to write, or none; see below (default: all whose packages are installed)",
    )
    _add_local_options(parser, "--models")
    add_options(parser, {"export": "options of formats"})
    return parser


def _export(args: argparse.Namespace) -> int:
    from dgkd_search.workflows.export import export_run
    from dgkd_search.workflows.export_forms import FORMS

    formats = None
    if args.formats is not None:
        try:
            chosen = "" if args.formats == "none" else args.formats
            formats = SeveralNamed(FORMS.names, 0)(chosen)
        except ValueError as error:
            raise InputError(f"--formats {args.formats}: {error}, or none") from None
    source, target, values = Path(args.source), Path(args.to), _local_options(args)
    for path in export_run(source, target, formats, values, say_error):
        say(path)
    return 0


def _train_parser() -> ArgumentParser:
    parser = _parser(
        "train",
        "Train the chain of a best.yaml on training and validation images. Each repeat has its own "
        "seed and reads the test set once.",
    )
    parser.add_argument("best", metavar="BEST", help="a best.yaml, or the folder that holds it")
    parser.add_argument(
        "--repeats", metavar="N", default="3", help="number of trainings (default: 3)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the students (default: trained/ beside BEST)"
    )
    _add_local_options(
        parser, "--teacher-weights", "--models", "--cpus-per-trial", "--gpus-per-trial"
    )
    return parser


def _train(args: argparse.Namespace) -> int:
    from dgkd_search.api import train

    repeats = _count("--repeats", args.repeats)
    result = train(args.best, args.out, repeats, say_error, **_local_options(args))
    say(result)
    if result.problem is not None:
        raise DgkdError(f"the test set could not be read: {result.problem}")
    return 0


def _compare_parser() -> ArgumentParser:
    parser = _parser(
        "compare",
        "Train one student by NOKD (labels alone), KD, TAKD, DGKD and stochastic DGKD on one "
        "chain, with the same recipe and seeds. Cached stages are not trained again.",
    )
    parser.add_argument("chain", metavar="T,A,...,S", help="models, from teacher to student")
    parser.add_argument(
        "--repeats", metavar="N", default="3", help="number of seeds of the student (default: 3)"
    )
    parser.add_argument(
        "--drop-prob",
        metavar="P",
        default="0.25",
        help="drop probability of stochastic DGKD (default: 0.25)",
    )
    groups = {"data": "data", "chain": "chain", "recipe": "recipe", "resources": "resources"}
    unused = ("teacher", "student", "assistants", "max_assistants", "guidance", "drop_prob")
    add_options(parser, groups, (*unused, "drop_scope", "concurrency", "address"))
    parser.add_argument("--store", metavar="DIR", help=_STORE_HELP)
    return parser


def _compare(args: argparse.Namespace) -> int:
    values = {name: value for name, value in vars(args).items() if value is not None}
    chain = tuple(part.strip() for part in values.pop("chain").split(","))
    if len(chain) < 2:
        raise InputError(
            f"{','.join(chain)}: a chain needs a teacher and a student; write it as T,A,S"
        )
    from dgkd_search.store.location import NO_STORE

    if values.get("store") == NO_STORE:
        raise InputError(
            "--store none: the methods share their teacher in a store; leave it out, or name a "
            "folder"
        )
    repeats, drop = _count("--repeats", values.pop("repeats")), values.pop("drop_prob")
    dropped = parse_options({**values, "drop_prob": drop}).drop_prob  # all problems at once
    if dropped.spread or len(dropped.values) > 1:
        raise InputError(f"--drop-prob {drop}: must be one value in {DROP_PROB.interval}")
    from dgkd_search.workflows.compare import compare, comparison_table, ladders, methods

    values |= {"teacher": chain[0], "student": chain[-1]}
    result = compare(methods(chain, dropped.values[0]), repeats, values, say_error)
    say("\n".join([*comparison_table(result), "", *ladders(result)]))
    if repeats < 3:
        say("use at least three seeds for a meaningful interval")
    return 0


def _store_parser() -> ArgumentParser:
    from dgkd_search.cli.store import add_store_options

    parser = _parser("store", "List the contents of the store, verify them, or free space.")
    add_store_options(parser)
    return parser


def _store(args: argparse.Namespace) -> int:
    from dgkd_search.cli.store import run_store_command

    return run_store_command(args)


def _doctor_parser() -> ArgumentParser:
    parser = _parser(
        "doctor",
        "Check the installed packages, the devices, the disk space of the store, and whether Ray "
        "starts. The exit code is 1 if a search would fail.",
    )
    parser.add_argument("--store", metavar="DIR", help=_STORE_HELP)
    parser.add_argument("--no-ray", action="store_true", help="don't start Ray")
    return parser


def _doctor(args: argparse.Namespace) -> int:
    from dgkd_search.workflows.doctor import examine

    store = None if args.store is None else Path(args.store).expanduser()
    problems = 0
    for finding in examine(store, not args.no_ray):
        rows = [(finding.name, finding.words)]
        if finding.problem:
            problems += 1
            rows.append(("", f"problem: {finding.problem}"))
        say("\n".join(labeled(rows, _FINDING)))  # the check of Ray takes seconds
    say(f"{pluralize(problems, 'problem')} found" if problems else "no problems found")
    return 1 if problems else 0


_FINDING = 19  # columns of the name of a check by `doctor`
_STORE_HELP = "store folder (default: in the user's cache folder)"
_LOCAL_OPTIONS = ("--data-dir", "--store")


def _add_local_options(parser: ArgumentParser, *more: str) -> None:
    """Add options for this machine, with the help lines that they have in the search."""
    described = ArgumentParser()
    add_options(described, {"data": "", "chain": "", "resources": "", "output": ""})
    for action in described._actions:
        if action.option_strings and action.option_strings[0] in (*_LOCAL_OPTIONS, *more):
            parser.add_argument(action.option_strings[0], metavar=action.metavar, help=action.help)


def _local_options(args: argparse.Namespace) -> dict[str, str]:
    own = {"source", "best", "to", "out", "formats", "repeats"}
    return {k: v for k, v in vars(args).items() if k not in own and v is not None}


@dataclass(frozen=True)
class Command:
    """A command besides the search.

    Attributes:
        name: the word after ``dgkd-search``.
        arguments: its arguments, as usage lines show them.
        summary: one line for the help of the search.
        parser: creates the parser of the arguments.
        act: runs the command and returns the exit code.
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
        Command("plot", "RUN", "redraw the figures of a run", _plot_parser, _plot),
        Command(
            "report",
            "RUN...",
            "write the report page of a run, or compare several runs",
            _report_parser,
            _report,
        ),
        Command(
            "export",
            "RUN --to DIR",
            "write the student with a model card, as torch.export and ONNX",
            _export_parser,
            _export,
        ),
        Command(
            "train",
            "BEST.YAML",
            "train the best chain on training and validation images",
            _train_parser,
            _train,
        ),
        Command(
            "compare",
            "T,A,S",
            "compare NOKD (labels alone), KD, TAKD and DGKD on one chain",
            _compare_parser,
            _compare,
        ),
        Command("store", "", "list or verify the store, or free space", _store_parser, _store),
        Command(
            "doctor",
            "",
            "check packages, devices, disk space and Ray",
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
    """Register a command, which users call as ``dgkd-search NAME``.

    Call this function in a module of your package, and declare that module as an entry point of
    the group ``dgkd_search.commands`` under the command's name.

    Args:
        summary: one line for the help.
        add_arguments: adds the command's arguments to its parser.
        act: runs the command with the parsed arguments and returns the exit code, or None for 0.
            The command line prints an ``InputError`` without a traceback.
        arguments: the command's arguments, as usage lines show them.

    Raises:
        ValueError: the name is taken.
    """

    def parser() -> ArgumentParser:
        created = _parser(name, summary)
        add_arguments(created)
        return created

    command = Command(name, arguments, summary, parser, lambda args: act(args) or 0)
    COMMANDS.register(command, calling_module())
