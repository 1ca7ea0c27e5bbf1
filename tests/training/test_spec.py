"""Keys: equal if and only if the weights are equal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest

from dgkd_search.models.architecture import Architecture
from dgkd_search.training.losses.base import KL, LossSpec
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.option_values import OptionValues

RECIPE = Recipe(8, 128, 0.1, 1e-4, "step", "crop", views=4)
SPEC = StageSpec(
    data="d" * 32,
    architecture=Architecture("resnet", "resnet8", 10, 3, 32),
    teachers=("a" * 32, "b" * 32),
    recipe=RECIPE,
    distillation=Distillation(0.9, 4, "mean", 0.25),
    numerics=Numerics(),
)
# Another valid value for every text or flag; numbers are incremented.
OTHER = {
    "data": "e" * 32,
    "teachers": ("a" * 32,),
    "family": "plain",
    "name": "resnet14",
    "origin": "mypackage.mymodels",
    "code": "c" * 32,
    "start": "d" * 32,
    "pretrained": "g" * 32,
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
    "options": (("beta", 0.5),),
}


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the value with one field changed, for every field at any depth, also future ones."""
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
    assert replace(SPEC, teachers=SPEC.teachers[::-1]).key != SPEC.key


def test_how_sources_are_consulted_means_nothing_without_any() -> None:
    alone = replace(SPEC, teachers=(), distillation=None)
    assert replace(alone, outputs="online").key == alone.key


def test_a_change_of_identity_is_noticed() -> None:
    """Another key orphans every store: increase TRAINING_VERSION only deliberately."""
    assert SPEC.key == "d4429eea2ad91801047bd094930a0787"
    assert SPEC.seed == 411639946024504525


def test_stages_of_before_there_were_other_losses_keep_their_keys() -> None:
    def told(loss: LossSpec) -> dict[str, object]:
        value = replace(SPEC, distillation=replace(Distillation(), loss=loss)).to_dict()
        assert isinstance(value["distillation"], dict)
        return value["distillation"]

    assert "loss" not in told(KL)
    assert told(LossSpec("dist"))["loss"] == {"name": "dist"}
    assert told(LossSpec("dist", options=(("beta", 0.0),)))["loss"] == {
        "name": "dist",
        "options": {"beta": 0.0},
    }


def test_modules_of_a_users_own_are_those_of_network_and_loss() -> None:
    network = replace(SPEC.architecture, origin="nets", code="c")
    own = replace(Distillation(), loss=LossSpec("mse", "losses", "c"))
    assert SPEC.origins == frozenset()
    assert replace(SPEC, architecture=network).origins == {"nets"}
    assert replace(SPEC, architecture=network, distillation=own).origins == {"nets", "losses"}


VALUES: OptionValues = (("beta", 0.5), ("fast", False), ("limit", None), ("steps", (1, 2)))
OTHERS = [
    replace(SPEC, teachers=(), distillation=None),
    replace(SPEC, distillation=Distillation(0.5, loss=LossSpec("mse", "losses", "c" * 32))),
    replace(SPEC, distillation=Distillation(loss=LossSpec("mse", "losses", "c" * 32, VALUES))),
]


@pytest.mark.parametrize("spec", [SPEC, *OTHERS])
def test_a_stage_comes_back_from_json(spec: StageSpec) -> None:
    back = StageSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec
    assert back.key == spec.key


def test_from_dict_needs_every_field() -> None:
    required = [f.name for f in fields(StageSpec) if f.default is MISSING]
    spoken = {f.name for f in fields(StageSpec)} - {"pretrained"}  # only present if not empty
    assert set(SPEC.to_dict()) == spoken - {"teachers"} | {"sources"}
    assert set(required) < spoken
    for name in SPEC.to_dict():
        value = SPEC.to_dict()
        del value[name]
        with pytest.raises(KeyError):
            StageSpec.from_dict(value)
