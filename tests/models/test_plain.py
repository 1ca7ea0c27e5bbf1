"""Plain convolutional networks: counts, layers, image sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dgkd_search.models import build, get_family, parameter_count
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.plain import PlainCNN

torch.set_num_threads(1)

COUNTS = {
    "plain2": 215_172,
    "plain3": 438_596,
    "plain4": 475_652,
    "plain5": 959_364,
    "plain6": 1_107_204,
    "plain7": 655_684,
    "plain8": 1_246_276,
    "plain9": 2_340_868,
    "plain10": 2_931_460,
}
COUNTS_C10 = {
    "plain2-c10": 13_082,
    "plain4-c10": 37_338,
    "plain6-c10": 82_778,
    "plain8-c10": 327_962,
    "plain10-c10": 2_487_850,
}
# copied in full from the published tables, while the package composes its specifications
LAYERS = {
    "plain2": "32 M 32 M F100",
    "plain5": "32 32 M 64 64 M 128 F100",
    "plain7": "32 32 M 64 64 M 128 128 M 256 M F64 F100",
    "plain10": "32 32 M 64 64 M 128 128 M 256 256 256 256 M F512 F100",
    "plain6-c10": "16 16 M 32 32 M 64 64 M F100",
    "plain8-c10": "16 16 M 32 32 M 64 64 M 128 128 M F64 F100",
}


def network(name: str, image_size: int = 32) -> PlainCNN:
    family = "plain-c10" if name.endswith("-c10") else "plain"
    architecture = Architecture(family, name, 100, 3, image_size)
    model = build(architecture, torch.Generator().manual_seed(0))
    assert isinstance(model, PlainCNN)
    return model


def layers_run(name: str, image_size: int = 32) -> list[nn.Module]:
    """Return the layers in the order in which a forward pass runs them."""
    model = network(name, image_size)
    order: list[nn.Module] = []
    for module in model.modules():
        if not isinstance(module, nn.Sequential | PlainCNN):
            module.register_forward_hook(lambda layer, *_: order.append(layer))
    model.eval()(torch.zeros(1, 3, image_size, image_size))
    return order


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_parameter_counts(name: str, count: int) -> None:
    assert parameter_count(Architecture("plain", name, 100, 3, 32)) == count


@pytest.mark.parametrize(("name", "count"), COUNTS_C10.items())
def test_published_parameter_counts_for_ten_classes(name: str, count: int) -> None:
    assert parameter_count(Architecture("plain-c10", name, 10, 3, 32)) == count


@pytest.mark.parametrize(("family", "names"), [("plain", COUNTS), ("plain-c10", COUNTS_C10)])
def test_members_are_ordered_by_convolutions(family: str, names: dict[str, int]) -> None:
    members = get_family(family).members
    assert [m.name for m in members] == list(names)
    assert all(m.default_candidate for m in members)


@pytest.mark.parametrize("name", [*COUNTS, *COUNTS_C10])
def test_the_name_counts_convolutions(name: str) -> None:
    convolutions = [m for m in network(name).modules() if isinstance(m, nn.Conv2d)]
    assert name.removesuffix("-c10") == f"plain{len(convolutions)}"


@pytest.mark.parametrize(("name", "spec"), LAYERS.items())
def test_layers_run_in_the_published_order(name: str, spec: str) -> None:
    expected: list[tuple[str, int | None]] = []
    for layer in spec.split():
        if layer == "M":
            expected.insert(-1, ("MaxPool2d", None))  # equivalent to after the ReLU, see below
        elif layer.startswith("F"):
            expected += [("Linear", int(layer[1:])), ("ReLU", None)]
        else:
            width = int(layer)
            expected += [("Conv2d", width), ("BatchNorm2d", width), ("ReLU", None)]
    expected.pop()  # no ReLU after the last linear layer
    expected[-1] = ("Classifier", 100)

    def describe(layer: nn.Module) -> tuple[str, int | None]:
        for width in ("out_channels", "out_features", "num_features"):
            if hasattr(layer, width):
                return type(layer).__name__, getattr(layer, width)
        return type(layer).__name__, None

    assert [describe(layer) for layer in layers_run(name)] == expected


@pytest.mark.parametrize("name", ["plain2", "plain6", "plain2-c10"])
def test_pooling_before_the_relu_changes_no_bit(name: str) -> None:
    ours = network(name)
    published = copy.deepcopy(ours)
    layers = [nn.ReLU() if isinstance(m, nn.ReLU) else m for m in published.conv_layers]
    for i in [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]:
        layers[i], layers[i + 1] = layers[i + 1], layers[i]
    published.conv_layers = nn.Sequential(*layers)
    assert list(published.state_dict()) == list(ours.state_dict())
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for model in (ours, published):
        for _ in range(2):
            model(images).square().sum().backward()
    assert torch.equal(ours(images), published(images))
    for a, b in zip(ours.parameters(), published.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        assert torch.equal(a.grad, b.grad)


def test_convolutions_keep_the_size_and_have_a_bias() -> None:
    for layer in network("plain10").modules():
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.padding, layer.stride) == ((3, 3), (1, 1), (1, 1))
            assert layer.bias is not None


@pytest.mark.parametrize(
    ("name", "image_size", "pools", "flat"),
    [
        ("plain10", 32, 4, 256 * 2 * 2),
        ("plain10", 28, 4, 256),
        ("plain10", 16, 4, 256),
        ("plain10", 15, 3, 256),
        ("plain10", 8, 3, 256),
        ("plain2", 9, 2, 32 * 2 * 2),
        ("plain6", 28, 2, 128 * 7 * 7),
        ("plain8-c10", 8, 3, 128),
    ],
)
def test_a_pool_below_one_pixel_is_left_out(
    name: str, image_size: int, pools: int, flat: int
) -> None:
    layers = layers_run(name, image_size)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == pools
    first = next(layer for layer in layers if isinstance(layer, nn.Linear))
    assert first.in_features == flat
