"""Stages of configurations: which ones are shared, and which students are equal."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import DataInfo
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import guidance_names
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Configuration, SearchSpace
from dgkd_search.training.recipe import Distillation

INFO = DataInfo("digits", tuple("0123456789"), 1, 8, (0.5,), (0.5,), 100, 20, "f" * 32, "")
POOL = ("resnet26", "resnet20", "resnet14")
SCOPES = ("student", "all")


@cache
def planner(scope: str, **options: object) -> Planner:
    base = {"teacher": "resnet32", "assistants": ",".join(POOL), "drop_scope": scope}
    return Planner(resolve(parse_options(base | options)).config, INFO)


chains = st.builds(
    lambda pool, guidance: Chain(("resnet32", *pool, "resnet8"), guidance),
    st.sets(st.sampled_from(POOL)).map(lambda s: tuple(sorted(s, reverse=True))),
    st.sampled_from(guidance_names()),
)
configurations = st.builds(
    lambda chain, kd, tau, drop, lr: Configuration(chain, Distillation(kd, tau, "mean", drop), lr),
    chains,
    st.sampled_from([0.5, 0.9]),
    st.sampled_from([2.0, 4.0]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([0.1, 0.05]),
)


def keys(scope: str, configuration: Configuration) -> list[str]:
    return [spec.key for spec in planner(scope).stages(configuration)]


@pytest.mark.parametrize("scope", SCOPES)
@given(one=configurations, two=configurations)
def test_configurations_are_identical_exactly_if_their_student_is(
    scope: str, one: Configuration, two: Configuration
) -> None:
    assert (one.identity == two.identity) == (keys(scope, one)[-1] == keys(scope, two)[-1])


@pytest.mark.parametrize("scope", SCOPES)
@given(configuration=configurations, chain=chains, drop=st.sampled_from([0.0, 0.25]))
def test_near_configurations_are_told_apart_by_their_student_alone(
    scope: str, configuration: Configuration, chain: Chain, drop: float
) -> None:
    """As above, for pairs with one difference, as two random draws rarely share a student."""
    loss = replace(configuration.distillation, drop_prob=drop)
    for near in (replace(configuration, chain=chain), replace(configuration, distillation=loss)):
        same = keys(scope, near)[-1] == keys(scope, configuration)[-1]
        assert (near.identity == configuration.identity) == same


@given(chains, configurations)
def test_what_is_tuned_for_the_student_leaves_the_rest_of_the_chain_alone(
    chain: Chain, other: Configuration
) -> None:
    plain = Configuration(chain, Distillation(), 0.1)
    tuned = replace(other, chain=chain)
    assert keys("student", plain)[:-1] == keys("student", tuned)[:-1]


def test_under_scope_all_a_drop_reaches_the_assistants_that_have_two_sources() -> None:
    chain = Chain(("resnet32", *POOL, "resnet8"))
    one, two = (keys("all", Configuration(chain, Distillation(drop_prob=p), 0.1)) for p in (0, 0.5))
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, True, False, False, False]
    tuned = keys("all", Configuration(chain, Distillation(0.5, 2.0), 0.2))
    assert tuned[:-1] == one[:-1]


def test_a_replicate_is_another_student_of_the_same_assistants() -> None:
    configuration = Configuration(Chain(("resnet32", "resnet14", "resnet8")), Distillation(), 0.1)
    first = [s.key for s in planner("student").stages(configuration)]
    again = [s.key for s in planner("student").stages(configuration, replicate=1)]
    assert first[:-1] == again[:-1]
    assert first[-1] != again[-1]


def test_the_reference_is_the_student_on_labels_alone() -> None:
    config = planner("student").config
    (alone,) = planner("student").reference()
    assert alone.architecture.name == "resnet8"
    assert (alone.teachers, alone.distillation) == ((), None)
    assert alone.recipe == config.student_recipe
    none = Configuration(Chain(("resnet32", "resnet14", "resnet8"), "none"), Distillation(), 0.1)
    assert [alone.key] == keys("student", none)


def test_the_student_has_its_own_epochs_and_views() -> None:
    plan = planner("student", epochs=40, student_epochs=6, augment="crop")
    stages = plan.stages(Configuration(Chain(("resnet32", "resnet8")), Distillation(), 0.1))
    assert [(s.recipe.epochs, s.recipe.views) for s in stages] == [(40, 32), (6, 6)]


@pytest.mark.parametrize("name", ["temperature", "kd_weight"])
def test_a_setting_that_is_not_tuned_is_the_same_for_student_and_assistants(name: str) -> None:
    config = planner("student", **{name: "0.333333333333333"}).config
    params = {"use_resnet26": 1, "use_resnet20": 0, "use_resnet14": 0, "drop_prob": 0.1}
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    drawn = space.configuration(params).distillation
    assert getattr(drawn, name) == getattr(config.distillation, name) == 0.3333333333
