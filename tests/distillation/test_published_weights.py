"""Weights of public repositories are read as they are saved there, and are the same function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import published
from torch import Tensor, nn

from dgkd_search.distillation.pretrained import read_teacher
from dgkd_search.errors import InputError
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.weights import from_bytes

StateDict = dict[str, Tensor]
Wrap = Callable[[StateDict], Any]

SGD = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.05}]}


def repdistiller(state: StateDict) -> Any:
    return {"epoch": 240, "model": state, "best_acc": torch.tensor(72.3), "optimizer": SGD}


def mdistiller_best(state: StateDict) -> Any:
    """The whole distiller: the student in training and its teacher, here with other shapes."""
    teacher = published.ResNet(8, 100, (32, 64, 128, 256)).state_dict()
    distiller = {f"module.student.{name}": value for name, value in state.items()}
    distiller |= {f"module.teacher.{name}": value for name, value in teacher.items()}
    return {"epoch": 1, "model": distiller, "optimizer": SGD, "best_acc": 7.5}


def takd(state: StateDict) -> Any:
    return {"model_state_dict": state, "optimizer_state_dict": SGD, "epoch": 160}


def akamaster(state: StateDict) -> Any:
    wrapped = {f"module.{name}": value for name, value in state.items()}
    return {"epoch": 200, "state_dict": wrapped, "best_prec1": 91.2}


X4 = (32, 64, 128, 256)
PLAIN8 = (
    "Conv32 Conv32 MaxPool Conv64 Conv64 MaxPool Conv128 Conv128 MaxPool Conv256 Conv256 MaxPool "
    "FC64 FC100"
).split()
PLAIN4_C10 = "Conv16 Conv16 MaxPool Conv32 Conv32 MaxPool FC10".split()

SAME: dict[str, tuple[str, str, Callable[[], nn.Module], Wrap]] = {
    "RepDistiller resnet": ("resnet", "resnet14", lambda: published.ResNet(14, 100), repdistiller),
    "RepDistiller x4": ("resnet", "resnet8x4", lambda: published.ResNet(8, 100, X4), repdistiller),
    "RepDistiller wrn": ("wrn", "wrn_16_2", lambda: published.WideResNet(16, 2, 100), repdistiller),
    "RepDistiller wrn_1": ("wrn", "wrn_16_1", lambda: published.WideResNet(16, 1, 100), dict),
    "RepDistiller vgg": ("vgg", "vgg8", lambda: published.BlockVGG(8, 100), repdistiller),
    "mdistiller": ("resnet", "resnet20", lambda: published.ResNet(20, 100), mdistiller_best),
    "mdistiller vgg": ("vgg", "vgg13", lambda: published.BlockVGG(13, 100), repdistiller),
    "TAKD resnet": ("resnet", "resnet26", lambda: published.ResNet(26, 100), takd),
    "TAKD plain": ("plain", "plain8", lambda: published.ConvNetMaker(PLAIN8), takd),
    "DGKD plain": ("plain-c10", "plain4-c10", lambda: published.ConvNetMaker(PLAIN4_C10), takd),
    "pytorch-cifar-models": ("resnet", "resnet20", lambda: published.ResNet(20, 100), dict),
    "pytorch_resnet_cifar10, option B": (
        "resnet",
        "resnet20",
        lambda: published.ResNet(20, 100, shortcut="shortcut", last="linear"),
        akamaster,
    ),
}


@pytest.mark.parametrize("source", SAME)
def test_published_networks_are_the_same_function(tmp_path: Path, source: str) -> None:
    family, name, make, wrap = SAME[source]
    torch.manual_seed(1)
    network = published.with_statistics(make())
    path = tmp_path / "teacher.pth"
    torch.save(wrap(network.state_dict()), path)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        expected = network(images)
        architecture = Architecture(family, name, expected.shape[1], 3, 32)
        ours = build(architecture, torch.Generator()).eval()
        ours.load_state_dict(from_bytes(read_teacher(path, architecture).weights))
        difference = (ours(images) - expected).abs().max() / expected.abs().max()
    assert difference <= 4e-7


@pytest.mark.parametrize(
    "source", ["RepDistiller x4", "RepDistiller wrn", "mdistiller vgg", "DGKD plain"]
)
def test_students_load_in_these_repositories(source: str) -> None:
    family, name, make, _ = SAME[source]
    network = make()
    classes = 10 if family == "plain-c10" else 100
    model = build(Architecture(family, name, classes, 3, 32), torch.Generator().manual_seed(0))
    network.load_state_dict(model.state_dict())  # strict


OTHERS: dict[str, tuple[str, str, Callable[[], nn.Module], str]] = {
    "torchdistill": (
        "wrn",
        "wrn_16_2",
        lambda: published.WideResNet(16, 2, 10, torchdistill=True),
        "torchdistill's wide_resnet: its shortcuts take a block's input before batch norm",
    ),
    "option A": (
        "resnet",
        "resnet20",
        lambda: published.ResNet(20, 10, shortcut="", last="linear"),
        r"pytorch_resnet_cifar10: its shortcuts have no weights \(option A\)",
    ),
    "option A, fc": (
        "resnet",
        "resnet8",
        lambda: published.ResNet(8, 10, shortcut=""),
        r"its shortcuts have no weights \(option A\)",
    ),
    "pytorch-cifar": (
        "vgg",
        "vgg11",
        lambda: published.flat_vgg(11, 10, linear=1),
        "pytorch-cifar's VGG: it pools after all five blocks",
    ),
    "pytorch-cifar-models": (
        "vgg",
        "vgg13",
        lambda: published.flat_vgg(13, 10, linear=3),
        "pytorch-cifar-models' VGG: it has three linear layers",
    ),
}


@pytest.mark.parametrize("source", OTHERS)
def test_other_functions_of_the_same_shapes_are_named(tmp_path: Path, source: str) -> None:
    family, name, make, message = OTHERS[source]
    path = tmp_path / "teacher.pth"
    torch.save({"model": make().state_dict()}, path)
    with pytest.raises(InputError, match=f"is not {name}, but .*{message}") as caught:
        read_teacher(path, Architecture(family, name, 10, 3, 32))
    assert "\n" not in str(caught.value)


def test_torchdistill_has_our_shapes_and_another_function() -> None:
    """Why weights are matched by name: by order they would fit, and be wrong."""
    theirs = published.with_statistics(published.WideResNet(16, 2, 10, torchdistill=True))
    ours = build(Architecture("wrn", "wrn_16_2", 10, 3, 32), torch.Generator()).eval()
    assert {tuple(value.shape) for value in theirs.state_dict().values()} == {
        tuple(value.shape) for value in ours.state_dict().values()
    }
    named = {
        name.replace("layer", "block")
        .replace(".", ".layer.", 1)
        .replace("shortcut.0", "convShortcut")
        if name.startswith("layer")
        else name: value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(named)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(ours(images), theirs(images), rtol=0.1)


def test_the_vgg_of_repdistiller_is_another_function_at_64_pixels(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(published.BlockVGG(8, 10).state_dict(), path)
    (note,) = read_teacher(path, Architecture("vgg", "vgg8", 10, 3, 64)).notes
    assert "pools once more on images of 64 x 64" in note
    assert not read_teacher(path, Architecture("vgg", "vgg8", 10, 3, 32)).notes
