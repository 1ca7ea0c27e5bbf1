"""The teachers of each model, and which chains give the same student."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import guidance_names
from dgkd_search.errors import InputError

chains = st.builds(
    Chain,
    st.integers(1, 7).map(lambda n: tuple(f"m{i}" for i in range(n))),
    st.sampled_from(guidance_names()),
)


def ancestry(chain: Chain, name: str) -> tuple[object, ...]:
    """Return a model and, as nested tuples, its teachers and theirs."""
    position = chain.models.index(name)
    return (name, *(ancestry(chain, chain.models[i]) for i in chain.teachers(position)))


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        ("dense", [(), (0,), (0, 1), (0, 1, 2)]),
        ("sequential", [(), (0,), (1,), (2,)]),
        ("teacher", [(), (0,), (0,), (0,)]),
        ("none", [(), (), (), ()]),
    ],
)
def test_sources_are_those_of_the_guidance(guidance: str, expected: list[tuple[int, ...]]) -> None:
    chain = Chain(("a", "b", "c", "d"), guidance)
    assert [chain.teachers(i) for i in range(4)] == expected


def test_parts_of_a_chain_have_names() -> None:
    chain = Chain(("a", "b", "c", "d"))
    assert (chain.teacher, chain.assistants, chain.student) == ("a", ("b", "c"), "d")
    assert str(chain) == "a > b > c > d"
    alone = Chain(("s",))
    assert (alone.teacher, alone.assistants, alone.student) == ("s", (), "s")


@pytest.mark.parametrize(
    ("models", "guidance", "expected"),
    [
        ("abcd", "dense", Chain(("a", "b", "c", "d"), "dense")),
        ("abcd", "sequential", Chain(("a", "b", "c", "d"), "sequential")),
        ("abcd", "teacher", Chain(("a", "d"), "dense")),
        ("abcd", "none", Chain(("d",), "dense")),
        ("ab", "sequential", Chain(("a", "b"), "dense")),
        ("a", "teacher", Chain(("a",), "dense")),
    ],
)
def test_canonical_form_is_the_shortest(models: str, guidance: str, expected: Chain) -> None:
    assert Chain(tuple(models), guidance).canonical() == expected


@given(chains)
def test_canonical_form_trains_the_same_student(chain: Chain) -> None:
    canonical = chain.canonical()
    assert ancestry(canonical, canonical.student) == ancestry(chain, chain.student)
    assert canonical.canonical() == canonical


@given(chains, chains)
def test_canonical_forms_are_equal_exactly_if_the_students_are(one: Chain, two: Chain) -> None:
    same = ancestry(one, one.student) == ancestry(two, two.student)
    assert (one.canonical() == two.canonical()) == same


@pytest.mark.parametrize(
    ("models", "guidance", "named"),
    [((), "dense", "no model"), (("a", "b", "a"), "dense", "a > b > a"), (("a",), "all", "'all'")],
)
def test_a_chain_that_is_none_is_refused(
    models: tuple[str, ...], guidance: str, named: str
) -> None:
    with pytest.raises(InputError, match=named):
        Chain(models, guidance)
