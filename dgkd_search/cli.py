"""The command line: options in, lines out; no logic of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from dgkd_search.errors import DgkdError, InputError
from dgkd_search.options import Options, closest

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

exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"plot": _plot, "export": _export}
    try:
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
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"dgkd-search: {error.strerror or error}{where}; what is finished is kept",
            file=sys.stderr,
        )
        return 1


def search_parser() -> argparse.ArgumentParser:
    """The parser of a search; values stay texts, ``Options.parse`` gives them their meaning."""
    parser = _Parser(
        prog="dgkd-search",
        usage="dgkd-search [options] | plot RUN | export RUN --to DIR",
        description="Find the best chain of assistants for densely guided knowledge distillation.",
        epilog=_COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("dgkd-search"))
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file that sets any option below; options win"
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
    parser = search_parser()
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = {f"--{f.name.replace('_', '-')}": None for f in fields(Options)}
        raise InputError([f"{word}: unknown option{closest(word, flags)}" for word in unknown])
    values = vars(known)
    config = values.pop("config")
    options = _merge(Path(config) if config else None, values)
    if options.dry_run:
        from dgkd_search.preview import preview

        print("\n".join(preview(options)))
        return 0
    from dgkd_search.progress import make_observer
    from dgkd_search.search import search

    print("\n".join(search(options, make_observer(options.quiet)).lines()))
    return 0


def _merge(config: Path | None, values: dict[str, object]) -> Options:
    """Options from a file and from the command line, the latter winning; all problems at once."""
    problems: list[str] = []
    given = {name: value for name, value in values.items() if value is not None}
    from_file: dict[str, object] = {}
    if config is not None:
        from dgkd_search.results.run import read_config

        from_file = {k.replace("-", "_"): v for k, v in read_config(config).items()}
        from_file = {k: v for k, v in from_file.items() if k not in given}
    for part, source in ((from_file, f"{config}: {{}}"), (given, "--{}")):
        try:
            Options.parse(part, source)
        except InputError as error:
            problems.extend(error.messages)
    if problems:
        raise InputError(problems)
    return Options.parse({**from_file, **given})


def _plot(arguments: list[str]) -> int:
    parser = _Parser(prog="dgkd-search plot", description="Draw the figures of a run again.")
    parser.add_argument("run", metavar="RUN", help="folder that a search has made")
    folder = Path(parser.parse_args(arguments).run)
    from dgkd_search.closing import draw
    from dgkd_search.results.run import RunFolder

    run = RunFolder(folder)
    config, _, study = run.load()
    for path in draw(run, config, study):
        print(path)
    return 0


def _export(arguments: list[str]) -> int:
    parser = _Parser(
        prog="dgkd-search export", description="Write a run's best configuration and student."
    )
    parser.add_argument("run", metavar="RUN", help="folder that a search has made")
    parser.add_argument("--to", metavar="DIR", required=True, help="folder to write into")
    known = parser.parse_args(arguments)
    from dgkd_search.results.best import export
    from dgkd_search.results.run import RunFolder

    for path in export(RunFolder(known.run), Path(known.to)):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
