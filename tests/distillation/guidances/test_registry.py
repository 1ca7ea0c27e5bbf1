from __future__ import annotations

import pytest
from helpers.registries import isolate
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.distillation.chain import Chain, models_needed
from dgkd_search.distillation.guidances.base import Guidance
from dgkd_search.distillation.guidances.registry import (
    get_guidance,
    guidance_code,
    guidance_names,
    register_guidance,
    teachers_of,
)
from dgkd_search.errors import InputError
from dgkd_search.utils.registry import adds_something


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


class Skip(Guidance):
    """The teachers are the largest model and the model before the previous one."""

    name, method = "skip", "SkipKD"

    def teachers(self, position: int) -> tuple[int, ...]:
        return (0, position - 2) if position > 2 else (0,)


def test_those_of_the_paper_are_built_in() -> None:
    assert guidance_names() == ("dense", "sequential", "teacher", "none")
    assert [get_guidance(name).method for name in guidance_names()] == [
        "DGKD", "TAKD", "KD", "NOKD",
    ]  # fmt: skip
    taught = {name: [teachers_of(name, i) for i in range(4)] for name in guidance_names()}
    assert taught == {
        "dense": [(), (0,), (0, 1), (0, 1, 2)],
        "sequential": [(), (0,), (1,), (2,)],
        "teacher": [(), (0,), (0,), (0,)],
        "none": [(), (), (), ()],
    }
    assert [models_needed(name, 1) for name in guidance_names()] == [3, 3, 2, 1]


def test_they_are_told_apart_by_color_and_by_marker() -> None:
    looks = [get_guidance(name) for name in guidance_names()]
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == 4


def test_one_of_a_users_own_teaches_a_chain() -> None:
    register_guidance(Skip)
    assert guidance_names()[-1] == "skip"
    assert adds_something(__name__)
    chain = Chain(("a", "b", "c", "d", "e"), "skip")
    assert [chain.teachers(i) for i in range(5)] == [(), (0,), (0,), (0, 1), (0, 2)]
    assert [models_needed("skip", most) for most in range(4)] == [2, 2, 3, 3], "in longer ones"
    assert guidance_code(("dense",)) == "" != guidance_code(("dense", "skip"))
    register_guidance(Skip)  # as if its module were imported again


def test_models_stay_that_others_would_lack_their_place_for() -> None:
    register_guidance(Skip)
    # e learns from a and c, c from a: without b and d, c would be e's neighbor.
    assert Chain(("a", "b", "c", "d", "e"), "skip").canonical() == Chain(
        ("a", "b", "c", "d", "e"), "skip"
    )
    assert Chain(("a", "b", "c"), "skip").canonical() == Chain(("a", "c"))


@given(st.sampled_from(["dense", "sequential", "teacher", "none"]), st.integers(1, 6))
def test_a_canonical_chain_teaches_its_student_alike(name: str, count: int) -> None:
    chain = Chain(tuple("abcdef"[:count]), name)
    canonical = chain.canonical()

    def taught(of: Chain, model: str) -> tuple[object, ...]:
        teachers = of.teachers(of.models.index(model))
        return (model, *(taught(of, of.models[i]) for i in teachers))

    assert taught(canonical, chain.student) == taught(chain, chain.student)
    assert canonical.canonical() == canonical


@pytest.mark.parametrize("given_", [(1,), (-1, 0), (0, 0), (1, 0), (0, 5)], ids=str)
def test_one_that_breaks_the_rule_is_named(given_: tuple[int, ...]) -> None:
    class Odd(Guidance):
        name, method = "odd", "Odd"

        def teachers(self, position: int) -> tuple[int, ...]:
            return given_

    register_guidance(Odd)
    message = (
        r"guidance 'odd': returns \[.*\] for the model at position 1; return distinct positions"
    )
    with pytest.raises(InputError, match=message):
        teachers_of("odd", 1)
    assert teachers_of("odd", 0) == ()


def test_an_unknown_one_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="guidance 'x': unknown; choose from dense, sequential"):
        Chain(("a", "b"), "x")


def test_names_are_taken_once() -> None:
    class Dense(Skip):
        name = "dense"

    with pytest.raises(ValueError, match="guidance 'dense': already registered"):
        register_guidance(Dense)


def test_a_class_without_a_name_is_refused() -> None:
    class Nameless(Guidance):
        def teachers(self, position: int) -> tuple[int, ...]:
            return ()

    with pytest.raises(ValueError, match="Nameless: name must be a text"):
        register_guidance(Nameless)

    for attribute, value, message in (
        ("name", "two words", "'two words': a name may have"),
        ("color", "blue-ish", "color 'blue-ish' must be like"),
        ("marker", "?", "marker '\\?' must be one of o s"),
    ):
        with pytest.raises(ValueError, match=message):
            register_guidance(type("Odd", (Skip,), {attribute: value}))


@pytest.mark.parametrize("given_", [None, (0.0,), ("a",), 3])
def test_one_that_gives_no_positions_is_named(given_: object) -> None:
    register_guidance(type("Odd", (Skip,), {"name": "odd", "teachers": lambda *_: given_}))
    with pytest.raises(InputError, match=r"guidance 'odd': fails at position 1 \(TypeError"):
        teachers_of("odd", 1)
