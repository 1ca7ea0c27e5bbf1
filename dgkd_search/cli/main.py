"""The entry point of the command line: it parses options and prints; the logic is elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dgkd_search.callbacks.safe_stream import make_safe
from dgkd_search.cli import completion  # noqa: F401  (it registers its command)
from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.output import say, say_error
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
    """Run the command and end the process."""
    code = main()
    # Skip Ray's exit handlers: after a signal to the process group they would wait a minute for
    # processes that are gone, and another signal in that minute would change the exit code.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        make_safe(stream)
    try:
        with sigterm_as_interrupt():
            first = arguments[0] if arguments else "-"
            if not first.startswith("-") and first in COMMANDS:
                return COMMANDS.get(first).run(arguments[1:])
            return _search(arguments)
    except DgkdError as error:
        for line in str(error).splitlines():
            say_error(f"dgkd-search: {line}")
        return error.exit_code
    except KeyboardInterrupt:
        say_error("dgkd-search: interrupted")
        return 130
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        return 1
    except OSError as error:
        say_error(f"dgkd-search: {one_line(error)}; finished work is kept")
        return 1


def _search(arguments: list[str]) -> int:
    values = vars(search_parser().parse(arguments))
    config, resumed = values.pop("config"), values.pop("resume")
    try:
        return _begin_or_resume(config, resumed, values)
    except KeyboardInterrupt:  # before the search handles interrupts itself
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
            say("\n".join(lines))
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
        say(summary.line() if options.quiet else summary)
    if summary.test_problem is not None:
        raise DgkdError(f"the test set could not be read: {summary.test_problem}")
    if summary.aborted:
        raise DgkdError(
            f"the search ended before its budget: {summary.ended}; remove the cause, then "
            f"{resume_hint(summary.run)}"
        )
    return 0


def _preview(parsed: ParsedOptions, resumed: str | None) -> list[str]:
    """Return the lines that a dry run prints."""
    from dgkd_search.workflows.dry_run import preview_lines
    from dgkd_search.workflows.validate import validate

    if resumed is None:
        return preview_lines(validate(parsed.applied_to(Options())))
    from dgkd_search.results.run_folder import RunFolder
    from dgkd_search.workflows.resume import check_resumption

    resumption = check_resumption(RunFolder(Path(resumed).expanduser()), parsed)
    return [*resumption.lines(), *preview_lines(resumption.validated)]


def _parse(config: Path | None, values: dict[str, object], own_names: bool) -> ParsedOptions:
    """Parse the options of a ``--config`` file and of the command line.

    The command line wins: the file's value of an option that is given there isn't checked.

    Args:
        own_names: whether the module of a resumed run may register names.

    Raises:
        InputError: all problems at once.
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
            # The file may name the module that registers an option of the command line.
            load_module_of({**from_file, **overrides})
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
