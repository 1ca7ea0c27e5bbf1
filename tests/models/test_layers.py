"""Initialization: draws only from the given generator, by the rule of each layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.layers import Classifier, initialize

torch.set_num_threads(1)

SMALL = [("plain", "plain2"), ("plain-c10", "plain8-c10"), ("resnet", "resnet8")]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize(("family", "name"), SMALL)
def test_weights_follow_from_the_generator_alone(family: str, name: str) -> None:
    architecture = Architecture(family, name, classes=10, channels=3, image_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = build(architecture, seeded(5))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert same_weights(build(architecture, seeded(5)), first)
    assert not same_weights(build(architecture, seeded(6)), first)


def test_the_generator_advances_and_networks_share_nothing() -> None:
    architecture = Architecture("resnet", "resnet8", classes=10, channels=3, image_size=8)
    generator = seeded(0)
    first, second = build(architecture, generator), build(architecture, generator)
    assert not same_weights(first, second)
    second_storage = {t.data_ptr() for t in second.state_dict().values()}
    assert not second_storage & {t.data_ptr() for t in first.state_dict().values()}
    kept = {k: v.clone() for k, v in second.state_dict().items()}
    first(torch.randn(2, 3, 8, 8, generator=generator))  # updates running statistics
    assert all(torch.equal(v, kept[k]) for k, v in second.state_dict().items())


@pytest.mark.parametrize(("family", "name"), SMALL)
def test_nothing_of_the_old_values_remains(family: str, name: str) -> None:
    architecture = Architecture(family, name, classes=10, channels=3, image_size=16)
    model = build(architecture, seeded(0))
    expected = build(architecture, seeded(3))
    for tensor in model.state_dict().values():
        tensor.fill_(77 if tensor.dtype == torch.int64 else math.nan)
    initialize(model, seeded(3))
    assert same_weights(model, expected)


def test_convolutions_are_kaiming_normal_fan_out() -> None:
    conv = nn.Conv2d(64, 256, 3)
    initialize(conv, seeded(0))
    weight = conv.weight.detach()
    deviation = math.sqrt(2 / (256 * 9))  # fan-in would give twice as much
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=0.02 * deviation)
    # a normal distribution, unlike a uniform one, has 4.6 % beyond two deviations
    assert (weight.abs() > 2 * deviation).float().mean().item() == pytest.approx(0.0455, abs=0.003)
    assert conv.bias is not None and not conv.bias.any()


def test_linear_layers_are_uniform_as_in_torch() -> None:
    linear = nn.Linear(400, 500)
    bound = 1 / 20
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear.reset_parameters()
        reference = [p.detach().clone() for p in linear.parameters()]
    initialize(linear, seeded(0))
    for mine, theirs in zip(linear.parameters(), reference, strict=True):
        assert 0.98 * bound < mine.abs().max().item() <= bound
        assert mine.std().item() == pytest.approx(theirs.std().item(), rel=0.07)
        assert mine.mean().item() == pytest.approx(0, abs=0.07 * bound)


def test_batch_normalization_starts_as_the_identity() -> None:
    norm = nn.BatchNorm2d(5)
    for tensor in norm.state_dict().values():
        tensor.fill_(9)
    initialize(norm, seeded(0))
    state = {key: tensor.tolist() for key, tensor in norm.state_dict().items()}
    assert state == {
        "weight": [1] * 5,
        "bias": [0] * 5,
        "running_mean": [0] * 5,
        "running_var": [1] * 5,
        "num_batches_tracked": 0,
    }


class Scaled(nn.Conv2d):
    """A convolution with an additional parameter, which has no rule."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1)
        self.scale = nn.Parameter(torch.ones(1))


class Buffered(nn.Module):
    """A module with only a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(2))


@pytest.mark.parametrize(
    ("module", "tensors"),
    [
        (nn.PReLU(), "weight"),
        (nn.LayerNorm(4), "bias, weight"),
        (nn.Conv1d(1, 1, 1), "bias, weight"),
        (Scaled(), "scale"),
        (Buffered(), "table"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_tensor_without_a_rule_is_an_error(module: nn.Module, tensors: str) -> None:
    with pytest.raises(TypeError) as error:
        initialize(nn.Sequential(nn.ReLU(), module), seeded(0))
    assert str(error.value) == (
        f"module '1' ({type(module).__name__}): no rule initializes {tensors}; "
        "add one to dgkd_search/models/layers.py"
    )


def test_a_classifier_does_not_round_its_logits_under_autocast() -> None:
    layer, features = Classifier(64, 10), torch.randn(8, 64, generator=seeded(0))
    with torch.no_grad():
        expected = layer(features)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(features), expected)
            half = layer(features.bfloat16())
        assert torch.equal(half, layer(features.bfloat16().float()))
        assert not torch.equal(half.bfloat16().float(), half)
        assert layer.double()(features.double()).dtype == torch.float64
