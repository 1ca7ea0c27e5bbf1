"""The table of options that the command line and ``--config`` files share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.option import Option, Scope
from dgkd_search.config.options import OPTIONS, scope_of

NAMES = OPTIONS.names()


@pytest.mark.parametrize("option", OPTIONS.known(), ids=lambda option: option.name)
def test_every_option_has_a_group_one_line_of_help_and_reads_its_default(option: Option) -> None:
    assert option.group in ("data", "chain", "recipe", "search", "resources", "output")
    help_line = option.help
    assert help_line == help_line.strip() != ""
    assert len(help_line.splitlines()) == 1
    if option.default is not None:
        default = option.default
        parsed = option.parse(default)
        assert parsed == default
        assert type(parsed) is type(default)


def test_every_option_is_in_the_help_with_its_line() -> None:
    shown = "".join(search_parser().format_help().split())  # lines may break at dashes
    for option in OPTIONS.known():
        assert f"--{option.name.replace('_', '-')}" in shown
        choices = ", ".join(getattr(option.parse, "choices", ()))
        line = option.help.replace("{choices}", choices)
        assert "".join(line.split()) in shown


def test_what_may_change_and_where_it_is_noted_follows_from_the_scope() -> None:
    def those(holds: Callable[[Scope], bool]) -> set[str]:
        return {name for name in NAMES if holds(scope_of(name))}

    session = {"out", "quiet", "json", "dry_run"}
    machine = {"address", "concurrency", "gpus_per_trial", "store_limit", "log_to"}
    places = {"data_dir", "teacher_weights", "store"}
    assert those(lambda scope: not scope.in_config) == session
    changeable = session | machine | places | {"budget", "time_budget", "confirm"}
    assert those(lambda scope: scope.changeable) == changeable
    assert those(lambda scope: not scope.in_best) == session | machine | places | {"cpus_per_trial"}
    assert those(lambda scope: scope.for_retraining) == places | {"cpus_per_trial"}
    assert scope_of("cpus-per-trial") is Scope.THREADS
