from __future__ import annotations

from typing import Any

import pytest
import torch

from dgkd_search.config.options import Options
from dgkd_search.config.resolve import Resolved, resolve
from dgkd_search.models import Family, Member, registry
from dgkd_search.training.recipe import NUMERICS


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def made(**options: Any) -> Resolved:
    return resolve(Options.parse(options))


@pytest.mark.parametrize(
    ("dataset", "family", "expected"),
    [
        ("digits", "resnet", (12, 64, 0.1, 5e-4, "onecycle", "none", 20)),
        ("cifar10", "resnet", (160, 128, 0.1, 1e-4, "step", "crop+flip", 32)),
        ("cifar100", "plain", (160, 128, 0.01, 1e-4, "constant", "crop+flip", 32)),
        ("cifar10", "plain-c10", (160, 128, 0.01, 1e-4, "constant", "crop+flip", 32)),
    ],
)
def test_the_recipe_is_that_of_the_family_and_the_data(
    dataset: str, family: str, expected: tuple[object, ...]
) -> None:
    config = made(dataset=dataset, family=family).config
    r = config.recipe
    found = (r.epochs, r.batch_size, r.lr, r.weight_decay, r.schedule, r.augment, config.budget)
    assert found == expected
    assert config.student_recipe == r
    assert config.numerics == NUMERICS["cpu"]


def test_what_is_given_wins_over_every_default() -> None:
    config = made(
        epochs=3, student_epochs=2, lr=0.5, teacher="resnet32", assistants="none", budget=1
    ).config
    assert (config.recipe.epochs, config.student_recipe.epochs, config.recipe.lr) == (3, 2, 0.5)
    assert (config.space.teacher, config.space.pool, config.budget) == ("resnet32", (), 1)
    assert made(epochs=3).config.student_recipe.epochs == 3


def test_a_family_without_defaults_of_its_own_can_be_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = registry.get_family("resnet").build
    new = Family("new", (Member("resnet8", 8), Member("resnet14", 14)), build)
    monkeypatch.setitem(registry._families, "new", new)
    config = made(family="new", dataset="cifar10").config
    assert (config.space.teacher, config.space.student) == ("resnet14", "resnet8")
    assert config.recipe.epochs == 160


def test_folders_for_imagenets_networks_are_trained_on_as_imagenet_is() -> None:
    folder = {"dataset": "imagefolder", "data_dir": "somewhere"}
    found = made(**folder, family="resnet-imagenet")
    assert found.config.data.image_size == 224
    assert found.config.recipe.augment == "resized-crop+flip"
    assert found.config.outputs == "online"
    assert found.config.recipe.views == found.config.recipe.epochs == 100, "a new one every epoch"
    own = made(**folder, family="resnet-imagenet", image_size=64, augment="crop", outputs="stored")
    assert (own.config.data.image_size, own.config.recipe.augment) == (64, "crop")
    assert own.config.outputs == "stored"
    other = made(**folder, family="resnet").config
    assert (other.data.image_size, other.outputs) == (None, "stored")
    assert made(**folder, augment="resized-crop").config.outputs == "online"
    assert made(dataset="cifar10", family="resnet-imagenet").config.outputs == "stored"
