"""Default values of options, which depend on the family and the dataset."""

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
_OF_IMAGES = ("image_size", "augment")  # fields of a recipe for image folders only

T = TypeVar("T")


def apply_defaults(options: Options, family: Family) -> Options:
    """Replace None values by defaults, and make paths absolute.

    Raises:
        InputError: the dataset is unknown.
    """
    dataset = get_dataset(options.dataset)
    recipe = recipe_for(family, dataset)
    teacher, student = _default_ends(options, family, dataset.tiny)
    options = _set_defaults(
        options,
        family=family.name,
        teacher=teacher,
        student=student,
        budget=TINY_BUDGET if dataset.tiny else DEFAULT_BUDGET,
        **_recipe_values(recipe, dataset),
    )
    options = _set_defaults(options, student_epochs=options.epochs)
    options = _with_outputs(options, dataset)
    options = _set_defaults(options, assistants=_between(options, family))
    options = _set_defaults(options, max_assistants=len(options.assistants or ()))
    if len(options.objective) > 1:
        options = replace(options, pruner=NO_PRUNER)
    return replace(
        options,
        data_dir=_absolute(options.data_dir),
        teacher_weights=_absolute(options.teacher_weights),
    )


def _default_ends(options: Options, family: Family, tiny: bool) -> tuple[str, str]:
    """Return the default teacher and student; they enclose the models that are named, if possible.

    A named model may be as small as the family's default student: then the smallest member is the
    student. In the same way the largest usual member may be the teacher.
    """
    teacher, student = family.default_ends(tiny)
    sizes = {member.name: member.size for member in family.members}
    inner = options.assistants or ()
    above = [sizes[name] for name in (options.teacher, *inner) if name in sizes]
    below = [sizes[name] for name in (options.student, *inner) if name in sizes]
    usual = [member.name for member in family.members if member.default_candidate]
    if above and sizes[student] >= min(above):
        student = family.members[0].name
    if below and sizes[teacher] <= max(below):
        larger = [name for name in (*usual, family.members[-1].name) if sizes[name] > max(below)]
        usual_larger = [name for name in larger if name in usual]
        teacher = (usual_larger or larger or [teacher])[-1]
    return teacher, student


def require(value: T | None) -> T:
    """Return a value that ``apply_defaults`` has set, which is not None."""
    assert value is not None
    return value


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _set_defaults(options: Options, **defaults: object) -> Options:
    missing = {name: v for name, v in defaults.items() if getattr(options, name) is None}
    return replace(options, **missing)  # type: ignore[arg-type]  # by name, as they are declared


def _recipe_values(recipe: DefaultRecipe, dataset: DatasetKind) -> dict[str, object]:
    """Return the values of a recipe; size and augmentation apply to image folders only."""
    values = {name: value for name, value in vars(recipe).items() if name not in _OF_IMAGES}
    values["augment"] = dataset.augment
    if dataset.streamable:
        of_images = {name: getattr(recipe, name) for name in _OF_IMAGES}
        values |= {name: value for name, value in of_images.items() if value is not None}
    return values


def _with_outputs(options: Options, dataset: DatasetKind) -> Options:
    """Set the default of ``outputs``, and the number of views that it needs."""
    if options.outputs is not None:
        return options
    # Random resized crops of large images: each epoch needs new ones, so storing outputs is futile.
    fresh = dataset.streamable and require(options.augment).startswith("resized")
    if not fresh:
        return replace(options, outputs="stored")
    epochs = max(require(options.epochs), require(options.student_epochs))
    return _set_defaults(replace(options, outputs="online"), views=epochs)


def _between(options: Options, family: Family) -> tuple[str, ...]:
    """Return all members strictly between teacher and student; none if these are invalid, which
    ``chain_space`` reports."""
    try:
        return tuple(family.between(require(options.teacher), require(options.student)))
    except InputError:
        return ()
