"""The values of options that a user left open, by the family and the dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dgkd_search.config.options import Options
from dgkd_search.config.recipes import DefaultRecipe, recipe_for
from dgkd_search.data import get_dataset
from dgkd_search.data.kinds import DatasetKind
from dgkd_search.errors import InputError
from dgkd_search.models import Family
from dgkd_search.study.strategies import NO_PRUNER

DEFAULT_BUDGET, TINY_BUDGET = 32, 20  # trials
_OF_IMAGES = ("image_size", "augment")  # what a recipe says of image folders alone

T = TypeVar("T")


def apply_defaults(options: Options, family: Family) -> Options:
    """The options, all of which have a value now, and whose paths are absolute.

    Raises:
        InputError: there is no such dataset.
    """
    dataset = get_dataset(options.dataset)
    recipe = recipe_for(family, dataset)
    teacher, student = family.default_ends(dataset.tiny)
    options = _where_open(
        options,
        family=family.name,
        teacher=teacher,
        student=student,
        budget=TINY_BUDGET if dataset.tiny else DEFAULT_BUDGET,
        **_recipe_values(recipe, dataset),
    )
    options = _where_open(options, student_epochs=options.epochs)
    options = _with_outputs(options, dataset)
    options = _where_open(options, assistants=_between(options, family))
    options = _where_open(options, max_assistants=len(options.assistants or ()))
    if len(options.objective) > 1:
        options = replace(options, pruner=NO_PRUNER)
    return replace(
        options,
        data_dir=_absolute(options.data_dir),
        teacher_weights=_absolute(options.teacher_weights),
    )


def require(value: T | None) -> T:
    """The value of an option that ``apply_defaults`` has filled."""
    assert value is not None
    return value


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _where_open(options: Options, **defaults: object) -> Options:
    open_ones = {name: v for name, v in defaults.items() if getattr(options, name) is None}
    return replace(options, **open_ones)  # type: ignore[arg-type]  # by name, as they are declared


def _recipe_values(recipe: DefaultRecipe, dataset: DatasetKind) -> dict[str, object]:
    """Of the recipe, in which a dataset's own augmentation goes before that for image folders."""
    values = {name: value for name, value in vars(recipe).items() if name not in _OF_IMAGES}
    values["augment"] = dataset.augment
    if dataset.streamable:
        of_images = {name: getattr(recipe, name) for name in _OF_IMAGES}
        values |= {name: value for name, value in of_images.items() if value is not None}
    return values


def _with_outputs(options: Options, dataset: DatasetKind) -> Options:
    """With the way teachers are consulted, and the views that it needs."""
    if options.outputs is not None:
        return options
    # Parts of large pictures at random: a new one in every epoch, of which nothing is worth
    # storing.
    fresh = dataset.streamable and require(options.augment).startswith("resized")
    if not fresh:
        return replace(options, outputs="stored")
    epochs = max(require(options.epochs), require(options.student_epochs))
    return _where_open(replace(options, outputs="online"), views=epochs)


def _between(options: Options, family: Family) -> tuple[str, ...]:
    """All members strictly between the ends; none where the ends are wrong, which is reported
    where the chain's space is made."""
    try:
        return tuple(family.between(require(options.teacher), require(options.student)))
    except InputError:
        return ()
