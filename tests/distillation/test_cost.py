from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.cost import forward_flops, training_tflop
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models import build, get_family
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

IMAGES = 1000


def naive(architecture: Architecture) -> int:
    """Count multiplications and additions of all convolutions and linear layers, from shapes."""
    model, total = build(architecture, torch.Generator()), [0]

    def count(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            size = layer.kernel_size[0] * layer.kernel_size[1]
            total[0] += 2 * output.numel() * layer.in_channels // layer.groups * size
        elif isinstance(layer, nn.Linear):
            total[0] += 2 * layer.in_features * layer.out_features

    for module in model.modules():
        module.register_forward_hook(count)
    size = architecture.image_size
    model.eval()(torch.zeros(1, architecture.channels, size, size))
    return total[0]


@pytest.mark.parametrize(
    ("family", "name"),
    [("resnet", "resnet20"), ("plain-c10", "plain10-c10"), ("wrn", "wrn_16_2"), ("vgg", "vgg8")],
)
def test_operations_of_a_forward_pass(family: str, name: str) -> None:
    architecture = get_family(family).architectures(10, 3, 32)(name)
    assert forward_flops(architecture) == naive(architecture)


def test_the_field_s_figure_for_resnet20() -> None:
    """40.8 million multiply-adds, as in published tables."""
    architecture = get_family("resnet").architectures(10, 3, 32)("resnet20")
    assert forward_flops(architecture) / 2 == pytest.approx(40.8e6, rel=0.02)


def stages(
    *models: str,
    outputs: str = "stored",
    given: dict[str, str] | None = None,
    views: int = 2,
) -> tuple[StageSpec, ...]:
    recipe = Recipe(4, 32, 0.1, 1e-4, "constant", "crop", views)
    return chain_stages(
        Chain(models),
        ChainSettings(
            architecture=get_family("resnet").architectures(10, 1, 8),
            data="f" * 32,
            recipe=recipe,
            student_recipe=Recipe(6, 32, 0.1, 1e-4, "constant", "crop", 3),
            distillation=Distillation(),
            assistant_distillation=Distillation(),
            numerics=Numerics(),
            outputs=outputs,
            pretrained=given or {},
        ),
    )


def test_training_and_every_view_of_every_source_once() -> None:
    chain = ("resnet20", "resnet14", "resnet8")
    t, a, s = (forward_flops(stage.architecture) for stage in stages(*chain))
    expected = 3 * (4 * t + 4 * a + 6 * s) + 3 * t + 3 * a  # three banks for the student
    assert training_tflop(stages(*chain), IMAGES) == pytest.approx(expected * IMAGES / 1e12)


def test_online_sources_look_at_every_batch() -> None:
    chain = ("resnet20", "resnet14", "resnet8")
    t, a, s = (forward_flops(stage.architecture) for stage in stages(*chain))
    expected = 3 * (4 * t + 4 * a + 6 * s) + 4 * t + 6 * (t + a)
    found = training_tflop(stages(*chain, outputs="online"), IMAGES)
    assert found == pytest.approx(expected * IMAGES / 1e12)


def test_a_given_teacher_costs_what_it_says_alone() -> None:
    t, s = (forward_flops(stage.architecture) for stage in stages("resnet20", "resnet8"))
    found = training_tflop(stages("resnet20", "resnet8", given={"resnet20": "f" * 32}), IMAGES)
    assert found == pytest.approx((3 * 6 * s + 3 * t) * IMAGES / 1e12)


def test_a_longer_chain_costs_more() -> None:
    costs = [
        training_tflop(stages(*chain), IMAGES)
        for chain in (
            ("resnet8",),
            ("resnet20", "resnet8"),
            ("resnet20", "resnet14", "resnet8"),
        )
    ]
    assert costs == sorted(costs)
