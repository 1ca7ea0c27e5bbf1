from __future__ import annotations

import pytest
from helpers.registries import isolate
from helpers.resolving import resolved

from dgkd_search.config.recipes import RULES, recipe_for
from dgkd_search.data import get_dataset
from dgkd_search.models import Family, Member, registry
from dgkd_search.models.families import DESIGNS
from dgkd_search.training.recipe import NUMERICS


@pytest.mark.parametrize(
    ("dataset", "family", "expected"),
    [
        ("digits", "resnet", (12, 64, 0.1, 5e-4, "onecycle", "none", 20)),
        ("cifar10", "resnet", (160, 128, 0.1, 1e-4, "step", "crop+flip", 32)),
        ("cifar100", "plain", (160, 128, 0.01, 1e-4, "constant", "crop+flip", 32)),
        ("cifar10", "plain-c10", (160, 128, 0.01, 1e-4, "constant", "crop+flip", 32)),
        ("cifar100", "wrn", (240, 64, 0.05, 5e-4, "late", "crop+flip", 32)),
        ("cifar100", "vgg", (240, 64, 0.05, 5e-4, "late", "crop+flip", 32)),
        ("cifar100", "resnet-imagenet", (100, 512, 0.2, 1e-4, "thirds", "crop+flip", 32)),
        ("digits", "plain-c10", (12, 64, 0.1, 5e-4, "onecycle", "none", 20)),
    ],
)
def test_the_recipe_is_that_of_the_family_and_the_data(
    dataset: str, family: str, expected: tuple[object, ...]
) -> None:
    config = resolved(dataset=dataset, family=family).config
    r = config.recipe
    found = (r.epochs, r.batch_size, r.lr, r.weight_decay, r.schedule, r.augment, config.budget)
    assert found == expected
    assert config.student_recipe == r
    assert config.numerics == NUMERICS["cpu"]


def test_what_is_given_wins_over_every_default() -> None:
    config = resolved(
        epochs=3, student_epochs=2, lr=0.5, teacher="resnet32", assistants="none", budget=1
    ).config
    assert (config.recipe.epochs, config.student_recipe.epochs, config.recipe.lr) == (3, 2, 0.5)
    assert (config.space.teacher, config.space.pool, config.budget) == ("resnet32", (), 1)
    assert resolved(epochs=3).config.student_recipe.epochs == 3


def test_a_family_without_defaults_of_its_own_can_be_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = registry.get_family("resnet").build
    new = Family("new", (Member("resnet8", 8), Member("resnet14", 14)), build)
    isolate(monkeypatch)
    registry.register(new)
    config = resolved(family="new", dataset="cifar10").config
    assert (config.space.teacher, config.space.student) == ("resnet14", "resnet8")
    assert config.recipe.epochs == 160


def test_folders_for_imagenets_networks_are_trained_on_as_imagenet_is() -> None:
    folder = {"dataset": "imagefolder", "data_dir": "somewhere"}
    found = resolved(**folder, family="resnet-imagenet")
    assert found.config.data.image_size == 224
    assert found.config.recipe.augment == "resized-crop+flip"
    assert found.config.outputs == "online"
    assert found.config.recipe.views == found.config.recipe.epochs == 100, "a new one every epoch"
    own = resolved(
        **folder, family="resnet-imagenet", image_size=64, augment="crop", outputs="stored"
    )
    assert (own.config.data.image_size, own.config.recipe.augment) == (64, "crop")
    assert own.config.outputs == "stored"
    other = resolved(**folder, family="resnet").config
    assert (other.data.image_size, other.outputs) == (None, "stored")
    assert resolved(**folder, augment="resized-crop").config.outputs == "online"
    assert resolved(dataset="cifar10", family="resnet-imagenet").config.outputs == "stored"


@pytest.mark.parametrize(
    ("family", "dataset", "ends"),
    [
        ("resnet", "digits", ("resnet26", "resnet8")),
        ("resnet", "cifar10", ("resnet56", "resnet8")),
        ("plain", "cifar100", ("plain10", "plain2")),
        ("plain-c10", "digits", ("plain10-c10", "plain2-c10")),
        ("wrn", "cifar100", ("wrn_40_2", "wrn_16_2")),
        ("vgg", "cifar100", ("vgg13", "vgg8")),
        ("resnet-imagenet", "cifar100", ("resnet50", "resnet18")),
    ],
)
def test_the_ends_are_those_of_the_family(family: str, dataset: str, ends: tuple[str, str]) -> None:
    space = resolved(family=family, dataset=dataset).config.space
    assert (space.teacher, space.student) == ends


def test_every_design_has_a_recipe_of_its_own() -> None:
    """Otherwise, the design would have no effect."""
    build = registry.get_family("resnet").build
    problems = get_dataset("cifar10"), get_dataset("digits")
    members = Member("a", 1), Member("b", 2)
    families = [Family("new", members, build, design=design) for design in DESIGNS]
    recipes = {tuple(recipe_for(family, data) for data in problems) for family in families}
    assert len(recipes) == len(DESIGNS)


def test_every_rule_has_a_source_and_the_last_fits_all() -> None:
    assert all(rule.problem and rule.source for rule in RULES)
    resnet, digits = registry.get_family("resnet"), get_dataset("digits")
    assert RULES[-1].fits(resnet, digits)
