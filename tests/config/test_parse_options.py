"""Parsing of options by name."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.config.options import OPTIONS, Options
from dgkd_search.config.parse_options import closest, merge_values, parse_options, parse_values
from dgkd_search.config.parsers import DropGrid
from dgkd_search.errors import InputError

NAMES = OPTIONS.names()


def test_nothing_given_is_the_default() -> None:
    assert parse_options({}) == parse_options(dict.fromkeys(NAMES)) == Options()


def test_names_may_have_dashes_or_underscores() -> None:
    assert parse_options({"train-limit": "5"}) == parse_options({"train_limit": 5})


def test_texts_and_values_mean_the_same() -> None:
    texts = parse_options({"assistants": "a,b", "lr": "1e-3", "drop-prob": "0,.5", "budget": "7"})
    values = parse_options(
        {"assistants": ["a", "b"], "lr": 0.001, "drop-prob": [0.5, 0]} | {"budget": 7}
    )
    assert texts == values
    assert texts.drop_prob == DropGrid((0.0, 0.5))


def test_all_problems_are_told_at_once_each_with_its_name_and_value() -> None:
    with pytest.raises(InputError) as caught:
        parse_options({"budgt": 1, "epochs": "0", "lr": "x", "images": "disk", "seed": 3})
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
        parse_options({"nope": 1}, source)
    assert caught.value.messages[0].startswith(source[:-2] + "nope: unknown option")


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_problem_is_one_line_whatever_was_written(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_options({f"x{name}": 1, "epochs": f"x{value}"})
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
    assert parse_options({name: "cifar10"}).normalize == "cifar10"
    other = ({"normalise", "normalize"} - {name}).pop()
    assert parse_options({name: "cifar10", other: None}).normalize == "cifar10"


def test_two_spellings_of_one_option_are_refused() -> None:
    with pytest.raises(InputError, match="--normalise: is given twice, in two spellings"):
        parse_options({"normalize": "train", "normalise": "train"})


def test_merged_values_go_by_what_a_name_means() -> None:
    parts = {"normalise": "train", "batch-size": 8}, {"normalize": "cifar10", "batch_size": 16}
    assert merge_values(*parts) == {"normalize": "cifar10", "batch_size": 16}


def test_names_of_ones_own_wait_for_their_module() -> None:
    for option in ("dataset", "sampler", "pruner", "guidance"):
        with pytest.raises(InputError, match=f"--{option} mine: unknown; choose from"):
            parse_options({option: "mine"})
        assert parse_options({option: "mine", "models": "m"}).models == "m"
        assert parse_options({option: "mine"}, own_names=True).models is None


def test_what_is_set_later_wins_and_the_rest_stays() -> None:
    first = parse_values({"epochs": 3, "batch-size": 8, "seed": None})
    later = parse_values({"batch_size": "16"})
    both = first.updated(later)
    assert both.values == {"epochs": 3, "batch_size": 16}
    assert "epochs" in both
    assert "seed" not in both
    begun = parse_options({"seed": 4, "epochs": 9})
    assert both.applied_to(begun) == parse_options({"seed": 4, "epochs": 3, "batch_size": 16})
