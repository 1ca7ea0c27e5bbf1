"""A run only resumes with the same custom extensions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.resolving import resolved

from dgkd_search.errors import InputError
from dgkd_search.models.architecture import Architecture
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.workflows.own_parts import check_own_parts, own_checksums, start_checksums

RUN = RunFolder("run")


def begun(**checksums: str) -> SearchDefinition:
    return SearchDefinition({}, "data", None, checksums)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("given", "weights of its teacher; name their file"),
        ("code", "code of its models; restore it"),
        ("loss", "code of its loss; restore it"),
        ("guidance", "code of its guidances"),
        ("sampler", "code of its sampler"),
        ("pruner", "code of its pruner"),
    ],
)
def test_another_part_is_named(name: str, words: str) -> None:
    check_own_parts(RUN, begun(**{name: "a"}), {name: "a"})
    for now in ({}, {name: "b"}):
        with pytest.raises(InputError, match=f"^run: the run was started with other {words}"):
            check_own_parts(RUN, begun(**{name: "a"}), now)


def test_runs_of_before_know_no_checksum_of_some_parts() -> None:
    check_own_parts(RUN, begun(), {"sampler": "a", "pruner": "b", "guidance": "c"})
    with pytest.raises(InputError, match="other code of its models"):
        check_own_parts(RUN, begun(), {"code": "a"})


def loading(**starts: str) -> str:
    one = Architecture("mine", "any", 2, 1, 8, "mymodels", "c")
    return start_checksums(replace(one, name=name, start=start) for name, start in starts.items())


def test_models_that_load_other_weights_are_named() -> None:
    started = loading(large="a", middle="", small="b")
    check_own_parts(RUN, begun(start=started), {"start": started})
    check_own_parts(RUN, begun(), {})
    for other, names in (
        (loading(large="a", small="c"), "small"),
        (loading(large="b", middle="a", small="b"), "large, middle"),
        ("", "large, small"),
    ):
        for one, two in ((started, other), (other, started)):
            message = f"^run: the constructors of its models {names} load other start weights"
            with pytest.raises(InputError, match=message):
                check_own_parts(RUN, begun(start=one), {"start": two})
    with pytest.raises(InputError, match=r"models large, small load .* an early version didn't"):
        check_own_parts(RUN, begun(), {"start": started})


def test_a_run_whose_models_load_nothing_records_nothing() -> None:
    config = resolved().config
    assert own_checksums(config, "", loading(large="", small="")) == {}
    assert own_checksums(config, "", loading(large="a")) == {"start": "large=a"}
