"""The one table of options that the command line and ``--config`` files share."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.cli.search_parser import search_parser
from dgkd_search.config.option import Option, Scope
from dgkd_search.config.options import OPTIONS, Options, closest, merge_values, scope_of
from dgkd_search.config.parsers import DropGrid
from dgkd_search.errors import InputError

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


def test_nothing_given_is_the_default() -> None:
    assert Options.parse({}) == Options.parse(dict.fromkeys(NAMES)) == Options()


def test_names_may_have_dashes_or_underscores() -> None:
    assert Options.parse({"train-limit": "5"}) == Options.parse({"train_limit": 5})


def test_texts_and_values_mean_the_same() -> None:
    texts = Options.parse({"assistants": "a,b", "lr": "1e-3", "drop-prob": "0,.5", "budget": "7"})
    values = Options.parse(
        {"assistants": ["a", "b"], "lr": 0.001, "drop-prob": [0.5, 0]} | {"budget": 7}
    )
    assert texts == values
    assert texts.drop_prob == DropGrid((0.0, 0.5))


def test_all_problems_are_told_at_once_each_with_its_name_and_value() -> None:
    with pytest.raises(InputError) as caught:
        Options.parse({"budgt": 1, "epochs": "0", "lr": "x", "images": "disk", "seed": 3})
    messages = caught.value.messages
    assert [m.split(":")[0] for m in messages] == [
        "--budgt",
        "--epochs 0",
        "--lr x",
        "--images disk",
    ]
    assert "did you mean budget?" in messages[0]
    assert "auto, memory, stream" in messages[3]


@pytest.mark.parametrize("source", ["runs/{a}/config.yaml: {}", "{}: {}", "a{: {}", "{0.x}{}"])
def test_a_file_with_braces_in_its_name_can_be_named(source: str) -> None:
    with pytest.raises(InputError) as caught:
        Options.parse({"nope": 1}, source)
    assert caught.value.messages[0].startswith(source[:-2] + "nope: unknown option")


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_problem_is_one_line_whatever_was_written(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        Options.parse({f"x{name}": 1, "epochs": f"x{value}"})
    assert len(caught.value.messages) == 2
    for message in caught.value.messages:
        assert len(message.splitlines()) == 1
        assert len(message) < 300


def test_the_nearest_name_is_suggested_and_else_the_help() -> None:
    assert closest("train_limt", NAMES) == "; did you mean train-limit?"
    assert closest("zzzzzz", NAMES) == "; see --help"


def test_input_errors_cross_process_borders_with_their_parts() -> None:
    error = pickle.loads(pickle.dumps(InputError(["a", "b\nc"])))
    assert error.messages == ("a", "b c")
    assert str(error) == "a\nb c"


@pytest.mark.parametrize("name", ["normalise", "normalize"])
def test_an_earlier_spelling_means_the_same(name: str) -> None:
    assert Options.parse({name: "cifar10"}).normalize == "cifar10"
    other = ({"normalise", "normalize"} - {name}).pop()
    assert Options.parse({name: "cifar10", other: None}).normalize == "cifar10"


def test_two_spellings_of_one_option_are_refused() -> None:
    with pytest.raises(InputError, match="--normalise: stands twice, in two spellings"):
        Options.parse({"normalize": "train", "normalise": "train"})


def test_merged_values_go_by_what_a_name_means() -> None:
    parts = {"normalise": "train", "batch-size": 8}, {"normalize": "cifar10", "batch_size": 16}
    assert merge_values(*parts) == {"normalize": "cifar10", "batch_size": 16}


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


def test_names_of_ones_own_wait_for_their_module() -> None:
    for option in ("dataset", "sampler", "pruner", "guidance"):
        with pytest.raises(InputError, match=f"--{option} mine: unknown; choose from"):
            Options.parse({option: "mine"})
        assert Options.parse({option: "mine", "models": "m"}).models == "m"
        assert Options.parse({option: "mine"}, own_names=True).models is None
