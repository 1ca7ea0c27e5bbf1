from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import guidance_names
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.losses.base import LossSpec
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

RECIPE = Recipe(8, 128, 0.1, 1e-4, "step", "crop", views=4)


def stages(chain: Chain, **settings: Any) -> tuple[StageSpec, ...]:
    defaults: dict[str, Any] = {
        "architecture": lambda name: Architecture("resnet", name, 10, 1, 8),
        "data": "d",
        "recipe": RECIPE,
        "student_recipe": RECIPE,
        "distillation": Distillation(),
        "assistant_distillation": Distillation(),
        "numerics": Numerics(),
    }
    return chain_stages(chain, ChainSettings(**{**defaults, **settings}))


models = st.integers(1, 5).map(lambda n: tuple(f"m{i}" for i in range(n)))


chains = st.builds(Chain, models, st.sampled_from(guidance_names()))


losses = st.builds(
    Distillation,
    st.sampled_from([0, 0.5, 0.9]),
    st.sampled_from([2, 4]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from([0, 0.5]),
    st.sampled_from([LossSpec("kl"), LossSpec("dist")]),
)


@given(chains, losses, losses)
def test_settings_that_do_nothing_do_not_change_the_key(
    chain: Chain, one: Distillation, two: Distillation
) -> None:
    sources = len(chain.teachers(len(chain.models) - 1))
    matter = {
        0: (),
        1: ("kd_weight", "temperature", "loss"),
    }.get(sources, ("kd_weight", "temperature", "loss", "loss_scale", "drop_prob"))
    if one.kd_weight == two.kd_weight == 0:
        matter = tuple(name for name in matter if name in ("kd_weight", "loss_scale"))
    same = all(getattr(one, name) == getattr(two, name) for name in matter)
    first, second = stages(chain, distillation=one), stages(chain, distillation=two)
    assert (first[-1].key == second[-1].key) == same
    assert [s.key for s in first[:-1]] == [s.key for s in second[:-1]]


@given(chains, st.integers(1, 3))
def test_stages_come_in_training_order_and_name_their_sources(chain: Chain, repeat: int) -> None:
    found = stages(chain, replicate=repeat)
    canonical = chain.canonical()
    assert tuple(s.architecture.name for s in found) == canonical.models
    for position, spec in enumerate(found):
        assert spec.teachers == tuple(found[i].key for i in canonical.teachers(position))
        assert spec.replicate == (repeat if position == len(found) - 1 else 0)
        assert (spec.distillation is None) == (not spec.teachers)
    assert len({spec.key for spec in found}) == len(found)


def test_chains_share_the_stages_before_they_part() -> None:
    long = stages(Chain(("a", "b", "c", "s")), student_recipe=replace(RECIPE, lr=0.3))
    short = stages(Chain(("a", "b", "s")))
    assert [s.key for s in long[:2]] == [s.key for s in short[:2]]
    assert long[-1].key != short[-1].key
