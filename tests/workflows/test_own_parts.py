"""A run only resumes with the same custom extensions."""

from __future__ import annotations

import pytest

from dgkd_search.errors import InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.workflows.own_parts import check_own_parts

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
