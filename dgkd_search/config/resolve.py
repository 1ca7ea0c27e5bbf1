"""From options to the complete configuration of a study: defaults and rules across options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dgkd_search.config.chain_space import chain_space
from dgkd_search.config.checks import ineffective_options, loss_problems, option_warnings
from dgkd_search.config.defaults import apply_defaults, require
from dgkd_search.config.extra_options import taken_by_parts
from dgkd_search.config.family import family_of
from dgkd_search.config.options import Options
from dgkd_search.config.resources import choose_resources
from dgkd_search.data import get_dataset
from dgkd_search.data.config import DataConfig
from dgkd_search.data.kinds import data_problems
from dgkd_search.distillation.guidances.registry import get_guidance, teachers_of
from dgkd_search.errors import InputError
from dgkd_search.models import Family
from dgkd_search.study.config import ChainSpace, Resources, StudyConfig
from dgkd_search.study.strategies import PRUNERS, SAMPLERS
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.training.recipe import NUMERICS, Distillation, Numerics, Recipe
from dgkd_search.utils.option_values import OptionValues

_POSITIONS = 32  # models in a chain, more than any chain has


@dataclass(frozen=True)
class Resolved:
    """A validated search.

    Attributes:
        options: the user's options with all defaults filled in.
        warnings: lines to show before the search runs.
    """

    config: StudyConfig
    resources: Resources
    options: Options
    warnings: tuple[str, ...] = ()


def resolve(options: Options) -> Resolved:
    """Fill in defaults and check the rules that span several options.

    Raises:
        InputError: all problems at once.
    """
    problems: list[str] = []
    unknown: tuple[str, ...] = ()
    try:
        family = family_of(options)  # first: its module may also register the dataset
    except InputError as error:
        unknown = error.messages
    problems += unknown
    problems += data_problems(_data_config(options))
    resources = choose_resources(options, problems)
    problems += [*_unknown_names(options), *loss_problems(options)]
    if unknown or not _is_known(options.dataset):  # defaults depend on both
        raise InputError(problems)
    options = apply_defaults(options, family)
    space = chain_space(options, family, problems)
    if problems:
        raise InputError(problems)
    options = replace(
        options, concurrency=resources.concurrency, gpus_per_trial=resources.gpus_per_trial
    )
    taken = taken_by_parts(options)
    options = options.with_values({name: v for values in taken.values() for name, v in values})
    config = _study_config(options, family, space, bool(resources.gpus_per_trial))
    config = _with_options_of_parts(config, taken)
    warnings = *option_warnings(resources), *ineffective_options(options)
    return Resolved(config, resources, options, warnings)


def complete(options: Options) -> Options:
    """Fill in all defaults without further checks.

    Raises:
        InputError: the family or the dataset, on which the defaults depend, is unknown.
    """
    return apply_defaults(options, family_of(options))


def _study_config(options: Options, family: Family, space: ChainSpace, on_gpu: bool) -> StudyConfig:
    """Return the study that complete options describe."""
    recipe = Recipe(
        epochs=require(options.epochs),
        batch_size=require(options.batch_size),
        lr=require(options.lr),
        weight_decay=require(options.weight_decay),
        schedule=require(options.schedule),
        augment=require(options.augment),
        views=options.views or 0,
    )
    return StudyConfig(
        data=_data_config(options),
        family=family.name,
        space=space,
        recipe=recipe,
        student_recipe=replace(
            recipe, epochs=require(options.student_epochs), views=options.views or 0
        ),
        distillation=Distillation(
            options.kd_weight,
            options.temperature,
            options.loss_scale,
            loss=get_loss(options.loss).spec,
        ),
        numerics=_numerics(options, "cuda" if on_gpu else "cpu", family),
        budget=require(options.budget),
        outputs=require(options.outputs),
        sampler=options.sampler,
        pruner=options.pruner,
        seed=options.seed,
        train_seed=options.train_seed,
        reference=not options.no_reference,
        time_budget=options.time_budget,
        objectives=options.objective,
        confirm_top=require(options.confirm).top,
        confirm_seeds=require(options.confirm).seeds,
    )


def _with_options_of_parts(config: StudyConfig, taken: Mapping[str, OptionValues]) -> StudyConfig:
    loss = replace(config.distillation.loss, options=taken["loss"])
    return replace(
        config,
        distillation=replace(config.distillation, loss=loss),
        sampler_options=taken["sampler"],
        pruner_options=taken["pruner"],
    )


def _is_known(dataset: str) -> bool:
    try:
        get_dataset(dataset)
    except InputError:
        return False
    return True


def _unknown_names(options: Options) -> list[str]:
    """Return the problems with names that modules and packages may register.

    The user's own module must be imported before.
    """
    problems: list[str] = []
    gets: dict[str, Callable[[str, str], object]] = {
        "guidance": get_guidance,
        "sampler": SAMPLERS.get,
        "pruner": PRUNERS.get,
    }
    asked = [("guidance", name) for name in options.guidance]
    for option, name in (*asked, ("sampler", options.sampler), ("pruner", options.pruner)):
        try:
            gets[option](name, f"--{option} {name}")
            if option == "guidance":  # call it for all chain lengths, before any training
                for position in range(_POSITIONS):
                    teachers_of(name, position)
        except InputError as error:
            problems += error.messages
    return problems


def _data_config(options: Options) -> DataConfig:
    """Return the options of the data."""
    return DataConfig(
        options.dataset,
        options.data_dir,
        options.image_size,
        options.train_limit,
        options.split_seed,
        options.images,
        options.normalize,
        validation=options.validation,
        background=options.background,
    )


def _numerics(options: Options, device: str, family: Family) -> Numerics:
    numerics = replace(NUMERICS[device], threads=options.cpus_per_trial, compiled=options.compile)
    if family.origin and device == "cpu":
        # In channels-last format, oneDNN corrupts memory in the backward pass of 1 x 1 convolutions
        # on fewer than 8 channels (torch 2.15). The built-in networks have no such convolutions.
        numerics = replace(numerics, memory_format="contiguous")
    if options.precision != "auto":
        numerics = replace(numerics, precision=options.precision)
    return numerics
