"""Ranges of recipes and losses, and their canonical forms."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from helpers.losses import LogitMSE
from helpers.registries import isolate
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.errors import InputError
from dgkd_search.training.losses.registry import get_loss, register_loss
from dgkd_search.training.recipe import NUMERICS, Distillation, Numerics, Recipe

GOOD: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 2,
    "lr": 0.1,
    "weight_decay": 0,
    "schedule": "step",
    "augment": "none",
}


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": 1}, "batch-size 1"),
        ({"lr": 0}, "lr 0"),
        ({"lr": -1}, "lr -1"),
        ({"lr": math.nan}, "lr nan"),
        ({"lr": math.inf}, "lr inf"),
        ({"weight_decay": -1e-9}, "weight-decay -1e-09"),
        ({"weight_decay": math.nan}, "weight-decay nan"),
        ({"schedule": "steps"}, "schedule 'steps'"),
        ({"augment": "flop"}, "augment 'flop'"),
        ({"views": -1}, "views -1"),
        ({"momentum": 1}, "momentum 1"),
        ({"momentum": math.nan}, "momentum nan"),
        ({"batch_size": None}, "batch-size None"),
        ({"schedule": None}, "schedule None"),
    ],
)
def test_a_recipe_out_of_range_is_refused_by_name(bad: dict[str, Any], shown: str) -> None:
    Recipe(**GOOD)
    with pytest.raises(InputError) as caught:
        Recipe(**{**GOOD, **bad})
    assert len(caught.value.messages) == 1
    assert caught.value.messages[0].startswith(shown)


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ({"kd_weight": -0.1}, "kd-weight -0.1"),
        ({"kd_weight": 1.01}, "kd-weight 1.01"),
        ({"kd_weight": math.nan}, "kd-weight nan"),
        ({"temperature": 0}, "temperature 0"),
        ({"temperature": math.inf}, "temperature inf"),
        ({"loss_scale": "max"}, "loss-scale 'max'"),
        ({"drop_prob": 1}, "drop-prob 1"),
        ({"drop_prob": -0.5}, "drop-prob -0.5"),
        ({"drop_prob": math.nan}, "drop-prob nan"),
    ],
)
def test_a_loss_out_of_range_is_refused_by_name(bad: dict[str, Any], shown: str) -> None:
    with pytest.raises(InputError) as caught:
        Distillation(**bad)
    assert len(caught.value.messages) == 1
    assert caught.value.messages[0].startswith(shown)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InputError) as recipe:
        Recipe(0, 1, 0, -1, "x", "y", -1, 1)
    assert len(recipe.value.messages) == 8
    with pytest.raises(InputError) as loss:
        Distillation(2, 0, "x", 1)
    assert len(loss.value.messages) == 4


def test_the_edges_of_ranges_are_allowed() -> None:
    Recipe(1, 2, 1e-9, 0, "constant", "crop+flip", 0, 0)
    Distillation(0, 1e-9, "sum", 0)
    Distillation(1, 1e9, "mean", 0.999)


@pytest.mark.parametrize(
    ("epochs", "augment", "views", "expected"),
    [
        (160, "none", 0, 1),
        (160, "none", 7, 1),
        (160, "crop", 0, 32),
        (12, "crop+flip", 0, 12),
        (160, "flip", 8, 8),
        (12, "flip", 20, 12),  # banks that no epoch reaches do not count
        (160, "crop", 160, 160),
    ],
)
def test_views_are_banks_that_some_epoch_uses(
    epochs: int, augment: str, views: int, expected: int
) -> None:
    recipe = Recipe(**{**GOOD, "epochs": epochs, "augment": augment, "views": views})
    assert recipe.views == expected


@given(st.integers(0, 6), st.floats(0, 0.99), st.sampled_from(["mean", "sum"]))
def test_canonical_loss_keeps_exactly_what_the_sources_make_meaningful(
    sources: int, drop: float, scale: str
) -> None:
    loss = Distillation(0.5, 2, scale, drop)
    canonical = loss.canonical(sources)
    if sources == 0:
        assert canonical is None
    elif sources == 1:
        assert canonical == Distillation(0.5, 2)
    else:
        assert canonical == loss


@given(
    sources=st.integers(1, 6),
    weight=st.sampled_from([0, 0.5, 1]),
    tau=st.floats(0.5, 9),
    drop=st.floats(0, 0.99),
    scale=st.sampled_from(["mean", "sum"]),
    loss=st.sampled_from(["kl", "dist", "mse"]),
)
def test_canonical_loss_is_told_apart_by_what_it_uses(
    sources: int, weight: float, tau: float, drop: float, scale: str, loss: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch)
        register_loss(LogitMSE)
        settings = Distillation(weight, tau, scale, drop, get_loss(loss).spec)
        canonical = settings.canonical(sources)
        assert canonical is not None and canonical.canonical(sources) == canonical
        assert canonical.loss.name == (loss if weight else "kl")
        assert canonical.temperature == (tau if weight and loss != "mse" else 4)
        assert settings.used_temperature == (None if loss == "mse" else tau)
        assert canonical.drop_prob == (drop if weight and sources > 1 else 0)
        assert canonical.loss_scale == (scale if sources > 1 else "mean")
        back = Distillation.from_dict(json.loads(json.dumps(canonical.to_dict())))
        assert back == canonical
        assert ("loss" in canonical.to_dict()) == (canonical.loss.name != "kl")


@pytest.mark.parametrize("scale", ["mean", "sum"])
def test_a_distillation_term_without_weight_has_no_settings(scale: str) -> None:
    loss = Distillation(0, 2, scale, 0.5)
    assert loss.canonical(0) is None
    assert loss.canonical(1) == Distillation(0)
    assert loss.canonical(3) == Distillation(0, loss_scale=scale)  # it scales the label term


def test_equal_numbers_are_one_setting_however_they_are_written() -> None:
    assert repr(Recipe(**{**GOOD, "lr": 1, "weight_decay": -0.0})) == repr(
        Recipe(**{**GOOD, "lr": 1.0, "weight_decay": 0})
    )
    assert repr(Distillation(drop_prob=-0.0, kd_weight=1)) == repr(Distillation(1.0, 4))


def test_numerics_are_a_fixed_table() -> None:
    assert NUMERICS["cpu"] == Numerics("cpu", 1, "fp32", "channels_last", False)
    assert {name: n.device_type for name, n in NUMERICS.items()} == {"cpu": "cpu", "cuda": "cuda"}
    with pytest.raises(InputError, match="cpus-per-trial 0"):
        Numerics(threads=0)
