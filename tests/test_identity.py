"""Keys: equal exactly for what trains the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.chain import GUIDANCES, Architecture, Chain
from dgkd_search.identity import StageSpec, chain_stages, derive_seed, digest
from dgkd_search.recipe import Distillation, Numerics, Recipe

RECIPE = Recipe(8, 128, 0.1, 1e-4, "step", "crop", views=4)
SPEC = StageSpec(
    data="d" * 32,
    architecture=Architecture("resnet", "resnet8", 10, 3, 32),
    sources=("a" * 32, "b" * 32),
    recipe=RECIPE,
    distillation=Distillation(0.9, 4, "mean", 0.25),
    numerics=Numerics(),
)
# Another valid value for every text or flag; numbers are counted on.
OTHER = {
    "data": "e" * 32,
    "sources": ("a" * 32,),
    "family": "plain",
    "name": "resnet14",
    "origin": "mypackage.mymodels",
    "code": "c" * 32,
    "given": "g" * 32,
    "schedule": "cosine",
    "augment": "flip",
    "loss_scale": "sum",
    "device_type": "cuda",
    "precision": "bf16",
    "memory_format": "channels_last",
    "compiled": True,
    "outputs": "online",
    "kd_weight": 0.8,
    "drop_prob": 0.5,
    "momentum": 0.8,
}


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with each of its fields changed, at any depth; a new field is never forgotten."""
    for f in fields(value):
        old = getattr(value, f.name)
        if is_dataclass(old):
            for path, new in changed(old):
                yield f"{f.name}.{path}", replace(value, **{f.name: new})
        else:
            new = OTHER[f.name] if f.name in OTHER else old + 1
            yield f.name, replace(value, **{f.name: new})


VARIANTS = dict(changed(SPEC))


@pytest.mark.parametrize("path", VARIANTS)
def test_every_field_is_part_of_the_key(path: str) -> None:
    assert VARIANTS[path] != SPEC
    assert VARIANTS[path].key != SPEC.key


def test_no_two_variants_share_a_key() -> None:
    keys = {spec.key for spec in VARIANTS.values()}
    assert len(keys) == len(VARIANTS) > 25


def test_the_order_of_sources_is_part_of_the_key() -> None:
    assert replace(SPEC, sources=SPEC.sources[::-1]).key != SPEC.key


def test_how_sources_are_consulted_means_nothing_without_any() -> None:
    alone = replace(SPEC, sources=(), distillation=None)
    assert replace(alone, outputs="online").key == alone.key


def test_a_change_of_identity_is_noticed() -> None:
    """A new value here orphans every store in the world: raise TRAINING_VERSION knowingly."""
    assert SPEC.key == "d4429eea2ad91801047bd094930a0787"
    assert SPEC.seed == 411639946024504525


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, sources=(), distillation=None)])
def test_a_stage_comes_back_from_json(spec: StageSpec) -> None:
    back = StageSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec
    assert back.key == spec.key


def test_from_dict_needs_every_field() -> None:
    required = [f.name for f in fields(StageSpec) if f.default is MISSING]
    told = {f.name for f in fields(StageSpec)} - {"given"}  # spoken of only where there are any
    assert set(SPEC.to_dict()) == told > set(required)
    for name in SPEC.to_dict():
        value = SPEC.to_dict()
        del value[name]
        with pytest.raises(KeyError):
            StageSpec.from_dict(value)


def test_a_digest_ignores_the_order_of_names_and_refuses_nan() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_seeds_fit_every_generator(parts: list[object]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(*parts) != derive_seed(*parts, "more")


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
    return chain_stages(chain, **{**defaults, **settings})


models = st.integers(1, 5).map(lambda n: tuple(f"m{i}" for i in range(n)))
chains = st.builds(Chain, models, st.sampled_from(GUIDANCES))
losses = st.builds(
    Distillation,
    st.sampled_from([0, 0.5, 0.9]),
    st.sampled_from([2, 4]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from([0, 0.5]),
)


@given(chains, losses, losses)
def test_settings_that_do_nothing_do_not_change_the_key(
    chain: Chain, one: Distillation, two: Distillation
) -> None:
    sources = len(chain.sources(len(chain.models) - 1))
    matter = {
        0: (),
        1: ("kd_weight", "temperature"),
    }.get(sources, ("kd_weight", "temperature", "loss_scale", "drop_prob"))
    if one.kd_weight == two.kd_weight == 0:
        matter = tuple(name for name in matter if name not in ("temperature", "drop_prob"))
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
        assert spec.sources == tuple(found[i].key for i in canonical.sources(position))
        assert spec.replicate == (repeat if position == len(found) - 1 else 0)
        assert (spec.distillation is None) == (not spec.sources)
    assert len({spec.key for spec in found}) == len(found)


def test_chains_share_the_stages_before_they_part() -> None:
    long = stages(Chain(("a", "b", "c", "s")), student_recipe=replace(RECIPE, lr=0.3))
    short = stages(Chain(("a", "b", "s")))
    assert [s.key for s in long[:2]] == [s.key for s in short[:2]]
    assert long[-1].key != short[-1].key
