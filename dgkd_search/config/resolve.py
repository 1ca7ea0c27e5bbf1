"""From what a user said to a study in which nothing is open: rules across options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch

from dgkd_search.config.checks import ineffective_options, loss_problems, option_warnings
from dgkd_search.config.options import Options
from dgkd_search.config.recipes import recipe_for
from dgkd_search.data import get_dataset
from dgkd_search.data.config import DataConfig
from dgkd_search.data.kinds import data_problems
from dgkd_search.distillation.guidance import get_guidance, teachers_of
from dgkd_search.errors import InputError
from dgkd_search.models import Family, get_family, load_families
from dgkd_search.study.config import ChainSpace, Resources, StudyConfig
from dgkd_search.study.strategies import NO_PRUNER, PRUNERS, SAMPLERS
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.training.recipe import NUMERICS, Distillation, Numerics, Recipe
from dgkd_search.utils.registry import adds_something
from dgkd_search.utils.system import cores

DEFAULT_FAMILY = "resnet"
DEFAULT_BUDGET, TINY_BUDGET = 32, 20  # trials
_POSITIONS = 32  # in a chain, more than any has
_OF_IMAGES = ("image_size", "augment")  # what a recipe says of image folders alone


@dataclass(frozen=True)
class Resolved:
    """A validated search.

    Attributes:
        options: the same as the user's, with every default filled in.
        warnings: what the user should know before it runs, a line each.
    """

    config: StudyConfig
    resources: Resources
    options: Options
    warnings: tuple[str, ...] = ()


def resolve(options: Options) -> Resolved:
    """Fill in defaults and check the rules that span several options.

    Raises:
        InputError: everything that is wrong, at once.
    """
    problems: list[str] = []
    unknown: tuple[str, ...] = ()
    try:
        family = family_of(options)  # first: its module may also make the dataset known
    except InputError as error:
        unknown = error.messages
    problems += data_problems(data_config(options))
    resources = _resources(options, problems)
    problems += [*_unknown_names(options), *loss_problems(options)]
    if unknown or not _is_known(options.dataset):  # defaults depend on both
        raise InputError([*problems, *unknown])
    options = apply_defaults(options, family)
    space = _space(options, family, problems)
    if problems:
        raise InputError(problems)
    options = replace(
        options, concurrency=resources.concurrency, gpus_per_trial=resources.gpus_per_trial
    )
    recipe = Recipe(
        epochs=require(options.epochs),
        batch_size=require(options.batch_size),
        lr=require(options.lr),
        weight_decay=require(options.weight_decay),
        schedule=require(options.schedule),
        augment=require(options.augment),
        views=options.views or 0,
    )
    device = "cuda" if resources.gpus_per_trial else "cpu"
    config = StudyConfig(
        data=data_config(options),
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
        numerics=_numerics(options, device, family),
        budget=require(options.budget),
        outputs=require(options.outputs),
        sampler=options.sampler,
        pruner=options.pruner,
        seed=options.seed,
        train_seed=options.train_seed,
        reference=not options.no_reference,
        time_budget=options.time_budget,
        objectives=options.objective,
        confirm_top=options.confirm.top,
        confirm_seeds=options.confirm.seeds,
    )
    return Resolved(
        config, resources, options, (*option_warnings(resources), *ineffective_options(options))
    )


def _is_known(dataset: str) -> bool:
    try:
        get_dataset(dataset)
    except InputError:
        return False
    return True


def _unknown_names(options: Options) -> list[str]:
    """Of what modules and packages may add; a module of the user's own has been imported."""
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
            if option == "guidance":  # of every chain that may come, before the first is trained
                for position in range(_POSITIONS):
                    teachers_of(name, position)
        except InputError as error:
            problems += error.messages
    return problems


def data_config(options: Options) -> DataConfig:
    """What the options say of the data."""
    return DataConfig(
        options.dataset,
        options.data_dir,
        options.image_size,
        options.train_limit,
        options.split_seed,
        options.images,
        options.normalize,
    )


def _numerics(options: Options, device: str, family: Family) -> Numerics:
    numerics = replace(NUMERICS[device], threads=options.cpus_per_trial, compiled=options.compile)
    if family.origin and device == "cpu":
        # oneDNN corrupts memory in the backward pass of 1 x 1 convolutions on fewer than 8 channels
        # (torch 2.15), if channels come last; networks that are built in have none of these.
        numerics = replace(numerics, memory_format="contiguous")
    if options.precision != "auto":
        numerics = replace(numerics, precision=options.precision)
    return numerics


def _space(options: Options, family: Family, problems: list[str]) -> ChainSpace:
    teacher, student = require(options.teacher), require(options.student)
    pool = options.assistants or ()
    sizes: dict[str, int] = {}
    for option, names in (("teacher", (teacher,)), ("student", (student,)), ("assistants", pool)):
        for name in names:
            try:
                sizes[name] = family.member(name).size
            except InputError as error:
                problems.extend(f"--{option}: {message}" for message in error.messages)
    if teacher in sizes and student in sizes:
        if sizes[teacher] <= sizes[student]:
            problems.append(
                f"--teacher {teacher}: must be larger than the student {student}; "
                "name a larger teacher or a smaller student, of this family or, with --models, of "
                "your own"
            )
        else:
            outside = [
                name
                for name in pool
                if name in sizes and not sizes[student] < sizes[name] < sizes[teacher]
            ]
            if outside:
                choices = ", ".join(family.between(teacher, student)) or "none"
                problems.append(
                    f"--assistants {','.join(outside)}: must lie strictly between {student} and "
                    f"{teacher}; choose from {choices}"
                )
    ordered = tuple(sorted(pool, key=lambda name: (-sizes.get(name, 0), name)))
    for size, same in groupby((n for n in ordered if n in sizes), key=sizes.__getitem__):
        equals = tuple(same)
        if len(equals) > 1:
            problems.append(
                f"--assistants {','.join(equals)}: are of one size ({size:,}), and sizes must "
                "strictly decrease along a chain; keep one of them"
            )
    bound = require(options.max_assistants)
    if bound > len(pool):
        problems.append(
            f"--max-assistants {bound}: there are {len(pool)} candidates; give at most that many"
        )
    drop_probs = options.drop_prob.allowed(options.drop_scope)
    if not drop_probs:
        problems.append(
            f"--drop-prob {options.drop_prob}: holds none of 0, .25, .5, .75, the values "
            "under --drop-scope all; widen the range or list values"
        )
        drop_probs = (0.0,)
    return ChainSpace(
        teacher=teacher,
        student=student,
        pool=ordered,
        max_assistants=bound,
        guidances=options.guidance,
        drop_probs=drop_probs,
        drop_scope=options.drop_scope,
        tune=tuple(sorted(options.tune)),
    )


def _resources(options: Options, problems: list[str]) -> Resources:
    """Devices and concurrency of this machine; a cluster's can't be counted from here."""
    if options.address is not None:
        needed = {"concurrency": options.concurrency, "gpus-per-trial": options.gpus_per_trial}
        if missing := [f"--{name}" for name, value in needed.items() if value is None]:
            problems.append(
                f"--address {options.address}: needs {' and '.join(missing)} too, for all of the "
                "cluster; 0 GPUs where there are none"
            )
        return Resources(
            options.concurrency or 1,
            options.cpus_per_trial,
            options.gpus_per_trial or 0.0,
            options.address,
        )
    devices = torch.cuda.device_count()
    share = options.gpus_per_trial
    if share is None:
        share = 1.0 if devices else 0.0
    cpus = options.cpus_per_trial
    if share > devices:
        problems.append(
            f"--gpus-per-trial {share:g}: this machine has {devices} GPUs; give at most {devices}"
        )
    if not share:
        carried = cores() // cpus
    elif share < 1:
        carried = devices * int(1 / share)  # a share can't straddle two GPUs
    else:
        carried = devices // int(share)
    concurrency = options.concurrency or max(1, carried)
    if 0 < share <= devices and concurrency > carried:
        problems.append(
            f"--concurrency {concurrency}: {devices} GPUs carry {carried} trials of "
            f"{share:g}; lower it or --gpus-per-trial"
        )
    return Resources(concurrency, cpus, share, options.address)


T = TypeVar("T")


def family_of(options: Options) -> Family:
    """The family that is meant: one of the user's own where its module is named alone.

    Raises:
        InputError: it is unknown, or its module can't be imported.
    """
    own = load_families(options.models) if options.models is not None else ()
    if options.models is not None and not adds_something(options.models):
        raise InputError(
            f"--models {options.models}: makes nothing known; call dgkd_search.family(...), "
            "dgkd_search.dataset(...) or one of the dgkd_search.register_... in it"
        )
    if options.family is not None:
        family = get_family(options.family, f"--family {options.family}")
        if own and family not in own:
            names = ", ".join(family.name for family in own)
            raise InputError(
                f"--family {options.family}: isn't of {options.models}; leave --models out, or "
                f"name {names}"
            )
        return family
    if len(own) > 1:
        names = ", ".join(family.name for family in own)
        raise InputError(f"--family: missing; {options.models} has several: {names}")
    return own[0] if own else get_family(DEFAULT_FAMILY)


def apply_defaults(options: Options, family: Family) -> Options:
    """The options with the defaults of the family and the dataset."""
    dataset = get_dataset(options.dataset)
    recipe = recipe_for(family, dataset)
    teacher, student = family.default_ends(dataset.tiny)
    defaults: dict[str, Any] = {
        "teacher": teacher,
        "student": student,
        "budget": TINY_BUDGET if dataset.tiny else DEFAULT_BUDGET,
        "augment": dataset.augment,
        **{name: value for name, value in asdict(recipe).items() if name not in _OF_IMAGES},
    }
    if dataset.streamable:
        of_images = {name: getattr(recipe, name) for name in _OF_IMAGES}
        defaults |= {name: value for name, value in of_images.items() if value is not None}
    if options.teacher_weights is not None:
        path = Path(options.teacher_weights).expanduser().absolute()
        options = replace(options, teacher_weights=str(path))
    if options.data_dir is not None:
        defaults["data_dir"] = str(Path(options.data_dir).expanduser().absolute())
        options = replace(options, data_dir=None)
    defaults["family"] = family.name
    missing = {name: v for name, v in defaults.items() if getattr(options, name) is None}
    options = replace(options, **missing)
    if options.student_epochs is None:
        options = replace(options, student_epochs=options.epochs)
    if options.outputs is None:
        # Parts of large pictures at random: a new one in every epoch, of which nothing is worth
        # storing.
        fresh = dataset.streamable and require(options.augment).startswith("resized")
        options = replace(options, outputs="online" if fresh else "stored")
        if fresh and options.views is None:
            options = replace(
                options, views=max(require(options.epochs), require(options.student_epochs))
            )
    if len(options.objective) > 1:
        options = replace(options, pruner=NO_PRUNER)
    if options.assistants is None:
        try:
            pool = family.between(require(options.teacher), require(options.student))
            options = replace(options, assistants=pool)
        except InputError:
            options = replace(options, assistants=())  # the ends are reported by _space
    if options.max_assistants is None:
        options = replace(options, max_assistants=len(options.assistants or ()))
    return options


def require(value: T | None) -> T:
    """The value of an option that ``apply_defaults`` has filled."""
    assert value is not None
    return value
