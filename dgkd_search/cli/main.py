"""The command line: options in, lines out; no logic of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dgkd_search.cli import completion  # noqa: F401  (it registers its command)
from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.options import Options, canonical_name
from dgkd_search.config.parse_options import (
    NO_OPTIONS,
    ParsedOptions,
    load_module_of,
    parse_values,
)
from dgkd_search.errors import DgkdError, InputError, Stopped, one_line, resume_hint
from dgkd_search.utils.signals import sigterm_as_interrupt


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
    try:
        with sigterm_as_interrupt():
            first = arguments[0] if arguments else "-"
            if not first.startswith("-") and first in COMMANDS:
                return COMMANDS.get(first).run(arguments[1:])
            return _search(arguments)
    except DgkdError as error:
        for line in str(error).splitlines():
            print(f"dgkd-search: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("dgkd-search: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has had enough
        return 1
    except OSError as error:
        print(f"dgkd-search: {one_line(error)}; what is finished is kept", file=sys.stderr)
        return 1


def _search(arguments: list[str]) -> int:
    values = vars(search_parser().parse(arguments))
    config, resumed = values.pop("config"), values.pop("resume")
    try:
        return _begin_or_resume(config, resumed, values)
    except KeyboardInterrupt:  # before the search has taken over
        if resumed is None:
            raise
        raise Stopped(f"interrupted; {resume_hint(resumed)}") from None


def _begin_or_resume(config: str | None, resumed: str | None, values: dict[str, object]) -> int:
    parsed = _parse(None if config is None else Path(config), values, resumed is not None)
    options = parsed.applied_to(Options())
    from dgkd_search.callbacks.events import SearchFinished
    from dgkd_search.callbacks.json_lines import JsonLines
    from dgkd_search.callbacks.terminal import make_callback

    events = JsonLines(sys.stdout) if options.json else None
    if options.dry_run:
        lines = _preview(parsed, resumed)
        if events is not None:
            events.write("preview", lines=lines)
        else:
            print("\n".join(lines))
        return 0
    shown = None if options.quiet else events
    callback = shown or make_callback(options.quiet)
    try:
        from dgkd_search.workflows.search import resume_search, run_search  # takes seconds

        if resumed is None:
            summary = run_search(options, callback)
        else:
            summary = resume_search(resumed, parsed, callback)
    except DgkdError as error:
        if events is not None:
            events.write("error", text=str(error))
        raise
    finally:
        callback.notify(SearchFinished())
    if events is not None:
        events.write("summary", **summary.to_dict())
    else:
        print(summary.line() if options.quiet else summary)
    if summary.test_problem is not None:
        raise DgkdError(f"the test set could not be read: {summary.test_problem}")
    if summary.aborted:
        raise DgkdError(
            f"ended before its budget: {summary.ended}; mend that, then {resume_hint(summary.run)}"
        )
    return 0


def _preview(parsed: ParsedOptions, resumed: str | None) -> list[str]:
    """What would run, line by line."""
    from dgkd_search.workflows.dry_run import preview_lines
    from dgkd_search.workflows.validate import validate

    if resumed is None:
        return preview_lines(validate(parsed.applied_to(Options())))
    from dgkd_search.results.run_folder import RunFolder
    from dgkd_search.workflows.resume import check_resumption

    resumption = check_resumption(RunFolder(Path(resumed).expanduser()), parsed)
    return [*resumption.lines(), *preview_lines(resumption.validated)]


def _parse(config: Path | None, values: dict[str, object], own_names: bool) -> ParsedOptions:
    """What a file and the command line set; all problems at once.

    The command line wins, so what a file says of an option given there isn't even looked at.

    Args:
        own_names: whether the module of a run that is resumed may make names known.
    """
    problems: list[str] = []
    overrides = {name: value for name, value in values.items() if value is not None}
    from_file: dict[str, object] = {}
    if config is not None:
        from dgkd_search.config.yaml_file import read_config

        overridden = set(map(canonical_name, overrides))
        values_there = read_config(config, problems)
        own_names |= bool(values_there.get("models"))
        from_file = {k: v for k, v in values_there.items() if k not in overridden}
        try:
            load_module_of({**from_file, **overrides})  # one part may name that of the other
        except InputError as error:
            problems.extend(error.messages)
    own_names |= "models" in overrides
    parsed = NO_OPTIONS
    for part, source in ((from_file, f"{config}: {{}}"), (overrides, "--{}")):
        try:
            parsed = parsed.updated(parse_values(part, source, own_names))
        except InputError as error:
            problems.extend(message for message in error.messages if message not in problems)
    if problems:
        raise InputError(problems)
    return parsed
