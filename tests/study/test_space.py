from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from helpers.studies import LR, POOL, make_space, search_space
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import guidance_names
from dgkd_search.study.space import Configuration, Params, SearchSpace
from dgkd_search.training.losses.base import LossSpec
from dgkd_search.training.recipe import Distillation


def assistants(params: Params) -> list[str]:
    return [name for name in POOL if params.get(f"use_{name}")]


def brute_force(space: SearchSpace) -> Iterator[Configuration]:
    """Yield every 0/1 vector × guidance × drop probability, duplicates included."""
    limits = space.space
    for bits in itertools.product((0, 1), repeat=len(limits.pool)):
        if sum(bits) > limits.max_assistants:
            continue
        chosen = itertools.compress(limits.pool, bits)
        models = (limits.teacher, *chosen, limits.student)
        for guidance, drop in itertools.product(limits.guidances, limits.drop_probs):
            distillation = Distillation(0.9, 4.0, drop_prob=drop)
            yield Configuration(Chain(models, guidance), distillation, LR)


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    pool = POOL[: draw(st.integers(0, 4))]
    values = st.sampled_from((0.0, 0.05, 0.1, 0.25, 0.3, 0.5))
    return search_space(
        pool,
        max_assistants=draw(st.integers(0, len(pool))),
        guidances=tuple(draw(st.lists(st.sampled_from(guidance_names()), min_size=1, unique=True))),
        drop_probs=tuple(sorted(draw(st.sets(values, min_size=1)))),
    )


def test_a_loss_is_the_same_in_all_configurations() -> None:
    dist = Distillation(loss=LossSpec("dist"))
    space = SearchSpace(make_space(tune=("temperature",)), dist, LR)
    configurations = [space.configuration(params) for params in space.initial_params().values()]
    assert {each.distillation.loss for each in configurations} == {LossSpec("dist")}


def test_parameters_of_every_kind_become_a_configuration() -> None:
    space = search_space(
        guidances=("dense", "sequential"),
        drop_probs=(0.0, 0.25),
        tune=("kd-weight", "lr", "temperature"),
    )
    params: dict[str, float | str] = {f"use_{name}": 0 for name in POOL}
    params |= {"use_resnet32": 1, "use_resnet14": 1, "guidance": "sequential", "drop_prob": 0.25}
    params |= {"temperature": 6.5, "kd_weight": 0.35, "lr": 0.05}
    assert set(params) == set(space.distributions)
    assert space.configuration(params) == Configuration(
        Chain(("resnet56", "resnet32", "resnet14", "resnet8"), "sequential"),
        Distillation(0.35, 6.5, drop_prob=0.25),
        0.05,
    )


def test_what_has_one_value_is_no_parameter_and_keeps_that_value() -> None:
    distillation = Distillation(0.8, 3.7, "sum")
    limits = make_space(guidances=("sequential",), drop_probs=(0.35,))
    space = SearchSpace(limits, distillation, 0.02)
    assert space.distributions == {f"use_{name}": IntDistribution(0, 1) for name in POOL}
    configuration = space.configuration(dict.fromkeys(space.distributions, 1))
    assert configuration.chain == Chain(("resnet56", *POOL, "resnet8"), "sequential")
    assert configuration.distillation == Distillation(0.8, 3.7, "sum", 0.35)
    assert configuration.lr == 0.02


@pytest.mark.parametrize(
    ("values", "step"),
    [((0.0, 0.05, 0.1, 0.15), 0.05), ((0.0, 0.25, 0.5, 0.75), 0.25), ((0.1, 0.4, 0.7), 0.3)],
)
def test_evenly_spaced_drop_probabilities_are_a_range(
    values: tuple[float, ...], step: float
) -> None:
    space = search_space(drop_probs=values)
    assert space.distributions["drop_prob"] == FloatDistribution(values[0], values[-1], step=step)
    found = {
        space.configuration(p).drop_prob for p in space.all_params() if len(assistants(p)) == 2
    }
    assert found == set(values)


def test_unevenly_spaced_drop_probabilities_are_choices() -> None:
    values = (0.0, 0.1, 0.5)
    distribution = search_space(drop_probs=values).distributions["drop_prob"]
    assert distribution == CategoricalDistribution(values)


def test_tuned_values_have_the_promised_ranges() -> None:
    distributions = search_space(tune=("kd-weight", "lr", "temperature")).distributions
    assert distributions["temperature"] == FloatDistribution(1, 10, step=0.5)
    assert distributions["kd_weight"] == FloatDistribution(0.1, 1, step=0.05)
    assert distributions["lr"] == FloatDistribution(LR / 4, LR * 4, log=True)


def test_sums_of_steps_are_tidied() -> None:
    space = search_space(drop_probs=(0.0, 0.05, 0.1, 0.15), tune=("kd-weight", "temperature"))
    params = next(iter(space.initial_params().values()))
    noisy = {**params, "drop_prob": 3 * 0.05, "kd_weight": 0.1 + 0.2}
    assert 3 * 0.05 != 0.15
    distillation = space.configuration(noisy).distillation
    assert (distillation.drop_prob, distillation.kd_weight) == (0.15, 0.3)
    weights = search_space(drop_probs=(0.0,), tune=("kd-weight",))
    digits = {len(str(p["kd_weight"])) for p in weights.all_params()}
    assert max(digits) <= len("0.15")


def test_the_first_trials_are_kd_the_full_chain_and_the_lower_middle() -> None:
    first = search_space(drop_probs=(0.0, 0.25, 0.5)).initial_params()
    assert {name: assistants(params) for name, params in first.items()} == {
        "kd": [],
        "full": list(POOL),
        "middle": ["resnet20"],
    }
    assert {params["drop_prob"] for params in first.values()} == {0.25}


@pytest.mark.parametrize(
    ("bound", "full"),
    [(3, ["resnet44", "resnet20", "resnet14"]), (2, ["resnet32", "resnet14"]), (1, ["resnet20"])],
)
def test_a_bound_spreads_the_full_chain_evenly(bound: int, full: list[str]) -> None:
    first = search_space(max_assistants=bound).initial_params()
    assert assistants(first["full"]) == full
    assert assistants(first["middle"]) == ["resnet20"]


def test_with_one_candidate_full_is_middle_and_without_any_there_is_kd_alone() -> None:
    first = search_space(("resnet20",)).initial_params()
    assert first["full"] == first["middle"] == {"use_resnet20": 1}
    assert search_space(()).initial_params() == {"kd": {}}
    assert list(search_space(max_assistants=0).initial_params()) == ["kd"]


@pytest.mark.parametrize(
    ("guidances", "names", "guidance"),
    [
        (("dense", "none"), ["kd", "full", "middle"], "dense"),
        (("none", "dense"), ["kd", "full", "middle"], "dense"),
        (("sequential", "dense"), ["kd", "full", "middle"], "sequential"),
        (("teacher", "none", "sequential"), ["kd", "full", "middle"], "sequential"),
        (("none", "teacher"), ["kd"], "teacher"),
        (("teacher",), ["kd"], "teacher"),
        (("none",), ["alone"], "none"),
    ],
)
def test_the_first_trials_take_the_first_guidance_under_which_assistants_matter(
    guidances: tuple[str, ...], names: list[str], guidance: str
) -> None:
    space = search_space(guidances=guidances)
    first = space.initial_params()
    assert list(first) == names
    assert {space.configuration(p).chain.guidance for p in first.values()} == {guidance}


@pytest.mark.parametrize(
    ("drops", "expected"),
    [((0.3, 0.35, 0.4), 0.3), ((0.0, 0.1), 0.1), ((0.0, 0.2, 0.9), 0.2), ((0.6,), 0.6)],
)
def test_the_first_drop_probability_is_the_allowed_one_nearest_a_quarter(
    drops: tuple[float, ...], expected: float
) -> None:
    space = search_space(drop_probs=drops)
    assert space.configuration(space.initial_params()["full"]).drop_prob == expected


def test_the_first_values_of_tuned_settings_are_the_given_ones_within_bounds() -> None:
    tune = ("kd-weight", "lr", "temperature")
    for given_values, expected in [
        (Distillation(0.9, 4.0), (0.9, 4.0)),
        (Distillation(0.0, 20.0), (0.1, 10.0)),
        (Distillation(0.42, 3.7), (0.4, 3.5)),
    ]:
        space = SearchSpace(make_space(tune=tune), given_values, LR)
        configuration = space.configuration(space.initial_params()["kd"])
        distillation = configuration.distillation
        assert (distillation.kd_weight, distillation.temperature) == expected
        assert configuration.lr == LR


@given(small_spaces())
@settings(max_examples=60, deadline=None)
def test_every_configuration_is_enumerated_once(space: SearchSpace) -> None:
    found = list(space.all_params())
    identities = [space.configuration(params).identity for params in found]
    assert len(set(identities)) == len(identities)
    assert set(identities) == {configuration.identity for configuration in brute_force(space)}
    for params in found:
        assert space.admits(params)
        assert set(params) == set(space.distributions)
        for name, distribution in space.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(params[name]))


@given(small_spaces())
@settings(max_examples=40, deadline=None)
def test_the_first_trials_lie_in_the_space(space: SearchSpace) -> None:
    every = {space.configuration(params).identity for params in space.all_params()}
    for params in space.initial_params().values():
        assert space.admits(params)
        assert space.configuration(params).identity in every


def test_the_bound_counts_assistants() -> None:
    space = search_space(max_assistants=2)
    params = dict.fromkeys(space.distributions, 0)
    assert space.admits(params | {"use_resnet44": 1, "use_resnet14": 1})
    assert not space.admits(params | {"use_resnet44": 1, "use_resnet14": 1, "use_resnet20": 1})


def test_the_drop_probability_is_told_only_where_two_sources_teach() -> None:
    space = search_space(guidances=("dense", "teacher", "sequential"), drop_probs=(0.5,))
    params = dict.fromkeys(space.distributions, 0)
    one = params | {"use_resnet20": 1}
    assert space.configuration(one | {"guidance": "dense"}).drop_prob == 0.5
    for ignored in (params | {"guidance": "dense"}, one | {"guidance": "sequential"}):
        assert space.configuration(ignored).drop_prob is None


def test_only_a_tuned_learning_rate_makes_the_space_endless() -> None:
    assert search_space(tune=("lr",)).is_continuous
    assert not search_space(tune=("kd-weight", "temperature"), drop_probs=(0.0, 0.5)).is_continuous
    assert {params["lr"] for params in search_space(tune=("lr",)).all_params()} == {LR}
