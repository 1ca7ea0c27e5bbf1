"""The command line: options in, lines out; no logic of its own."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from dgkd_search.errors import DgkdError, InputError, Stopped, describe, way_on
from dgkd_search.options import Options, closest
from dgkd_search.signals import terminable

_GROUPS = {
    "data": "data",
    "chain": "chain",
    "recipe": "recipe (defaults by family and data set)",
    "search": "search",
    "resources": "resources",
    "output": "output",
}
_COMMANDS = """\
other commands:
  dgkd-search plot RUN              draw the figures of a run again
  dgkd-search export RUN --to DIR   write its best configuration and student
  dgkd-search store                 list what is stored, verify it, make room

exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else
"""


_NAMES = ("plot", "export", "store")  # of commands


class _Parser(argparse.ArgumentParser):
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
                problems.append(f"{word}: no command and no option{closest(word, _NAMES)}")
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


def run() -> NoReturn:
    """The command, in a process of its own."""
    code = main()
    # Everything is put away. Ray's exit handlers would wait a minute for processes that a signal to
    # the whole group has ended too, and a signal that comes meanwhile would be taken for the end.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"plot": _plot, "export": _export, "store": _store}
    try:
        with terminable():
            if arguments and arguments[0] in commands:
                return commands[arguments[0]](arguments[1:])
            return _search(arguments)
    except DgkdError as error:
        for line in str(error).splitlines():
            print(f"dgkd-search: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dgkd-search: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"dgkd-search: {describe(error)}; what is finished is kept", file=sys.stderr)
        return 1


def search_parser() -> _Parser:
    """The parser of a search; values stay texts, ``Options.parse`` gives them their meaning."""
    parser = _Parser(
        prog="dgkd-search",
        usage="dgkd-search [options] | plot RUN | export RUN --to DIR | store",
        description="Find the best chain of assistants for densely guided knowledge distillation.",
        epilog=_COMMANDS,
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
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for option in fields(Options):
        meta = option.metadata
        name = "--" + option.name.replace("_", "-")
        if option.default is False:
            groups[meta["group"]].add_argument(
                name, action="store_const", const=True, help=meta["help"]
            )
        else:
            metavar = meta["metavar"] or "NAME"
            groups[meta["group"]].add_argument(name, metavar=metavar, help=meta["help"])
    return parser


def _search(arguments: list[str]) -> int:
    values = vars(search_parser().parse(arguments))
    config, resumed = values.pop("config"), values.pop("resume")
    try:
        return _begin_or_resume(config, resumed, values)
    except KeyboardInterrupt:  # before the search has taken over
        if resumed is None:
            raise
        raise Stopped(f"interrupted; {way_on(resumed)}") from None


def _begin_or_resume(config: str | None, resumed: str | None, values: dict[str, object]) -> int:
    given, options = _merge(None if config is None else Path(config), values)
    if options.dry_run:
        from dgkd_search.preview import check, preview

        if resumed is None:
            checked = check(options)
        else:
            from dgkd_search.results.run import RunFolder
            from dgkd_search.resumption import check_resumption

            resumption = check_resumption(RunFolder(Path(resumed).expanduser()), given)
            print("\n".join(resumption.lines()))
            checked = resumption.checked
        print("\n".join(preview(checked)))
        return 0
    from dgkd_search.driver import resume_search, run_search
    from dgkd_search.progress import make_observer

    observer = make_observer(options.quiet)
    if resumed is None:
        summary = run_search(options, observer)
    else:
        summary = resume_search(resumed, given, observer)
    print(summary)
    if summary.test_problem is not None:
        raise DgkdError(f"the test set could not be read: {summary.test_problem}")
    if summary.gave_up:
        raise DgkdError(
            f"ended before its budget: {summary.ended}; mend that, then {way_on(summary.run)}"
        )
    return 0


def _merge(config: Path | None, values: dict[str, object]) -> tuple[dict[str, object], Options]:
    """What a file and the command line say, raw and as options; all problems at once.

    The command line wins, so what a file says of an option given there isn't even looked at.
    """
    problems: list[str] = []
    given = {name: value for name, value in values.items() if value is not None}
    from_file: dict[str, object] = {}
    if config is not None:
        from dgkd_search.config_file import read_config

        from_file = {k: v for k, v in read_config(config, problems).items() if k not in given}
    for part, source in ((from_file, f"{config}: {{}}"), (given, "--{}")):
        try:
            Options.parse(part, source)
        except InputError as error:
            problems.extend(error.messages)
    if problems:
        raise InputError(problems)
    values = {**from_file, **given}
    return values, Options.parse(values)


def _plot(arguments: list[str]) -> int:
    parser = _Parser(prog="dgkd-search plot", description="Draw the figures of a run again.")
    parser.add_argument("run", metavar="RUN", help="folder that a search has made")
    folder = Path(parser.parse(arguments).run)
    from dgkd_search.closing import draw
    from dgkd_search.results.record import load_study
    from dgkd_search.results.run import RunFolder

    run = RunFolder(folder)
    for path in draw(run, load_study(run)):
        print(path)
    return 0


def _export(arguments: list[str]) -> int:
    parser = _Parser(
        prog="dgkd-search export", description="Write a run's best configuration and student."
    )
    parser.add_argument("run", metavar="RUN", help="folder that a search has made")
    parser.add_argument("--to", metavar="DIR", required=True, help="folder to write into")
    known = parser.parse(arguments)
    from dgkd_search.results.best import export
    from dgkd_search.results.run import RunFolder

    for path in export(RunFolder(known.run), Path(known.to)):
        print(path)
    return 0


def _store(arguments: list[str]) -> int:
    from dgkd_search.store_command import add_options, run

    parser = _Parser(
        prog="dgkd-search store",
        description="List what the store holds, verify it, or make room in it.",
        allow_abbrev=False,
    )
    add_options(parser)
    return run(parser.parse(arguments))
