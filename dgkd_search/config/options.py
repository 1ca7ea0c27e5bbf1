"""What a user may say: every option with its group, its help line and the rule for its value.

The command line and ``--config`` files read the same table (``parse_options``). An option left at
None gets its default from the family and the dataset (``resolve``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dgkd_search.callbacks.trackers import TRACKERS
from dgkd_search.config.option import Option, Scope
from dgkd_search.config.parsers import (
    DropGrid,
    Listed,
    Named,
    OptionParser,
    ReplicationPlan,
    SeveralNamed,
    SeveralOf,
    drop_grid,
    duration,
    flag,
    gpus,
    integer,
    names,
    number,
    objectives,
    path_text,
    replication_plan,
    size,
    text,
    within,
)
from dgkd_search.data.config import AUGMENTS, IMAGE_SIZE, IMAGES, NORMALIZATIONS, SEED, VALIDATION
from dgkd_search.data.kinds import dataset_names
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE, guidance_names
from dgkd_search.models.names import FAMILIES
from dgkd_search.study.config import (
    DROP_SCOPES,
    KD_WEIGHTS,
    LR_FACTOR,
    SETTING_DIGITS,
    TEMPERATURES,
    TUNABLE,
)
from dgkd_search.study.strategies import PRUNERS, SAMPLERS
from dgkd_search.training.losses.base import KL
from dgkd_search.training.losses.registry import loss_names
from dgkd_search.training.recipe import (
    BATCH_SIZE,
    EPOCHS,
    KD_WEIGHT,
    LOSS_SCALES,
    MAX_VIEWS,
    OUTPUTS,
    PRECISIONS,
    SCHEDULES,
    TEMPERATURE,
    THREADS,
    WEIGHT_DECAY,
)
from dgkd_search.utils.option_values import OptionValues, option_values
from dgkd_search.utils.registry import Registry
from dgkd_search.utils.rules import OneOf


def _option(
    default: Any,
    group: str,
    parse: OptionParser,
    metavar: str | None,
    help: str,
    scope: Scope = Scope.STUDY,
) -> Any:
    meta = {"group": group, "parse": parse, "metavar": metavar, "help": help, "scope": scope}
    return field(default=default, metadata=meta)


# Earlier spellings, which command lines, --config files and run folders may have.
ALIASES = {"normalise": "normalize"}
DEFAULT_DROPS = DropGrid((0.0, 0.5), True)


@dataclass(frozen=True)
class Options:
    """Every option; None means that the family and the dataset decide.

    Attributes:
        extra: values of options that packages add, as far as they are given or needed.
    """

    dataset: str = _option(
        "digits", "data", Named(dataset_names), "NAME", "images to learn: {choices}"
    )
    data_dir: str | None = _option(
        None,
        "data",
        path_text,
        "PATH",
        "folder of the images (imagefolder) or of CIFAR's archive; .npz file (arrays)",
        scope=Scope.PLACE,
    )
    image_size: int | None = _option(
        None, "data", within(IMAGE_SIZE), "N", "resize images to N x N (dataset's own; folders: 32)"
    )
    train_limit: int | None = _option(
        None, "data", integer(2), "N", "train on a stratified subset of N images (all)"
    )
    validation: float | None = _option(
        None,
        "data",
        within(VALIDATION),
        "X",
        "share of the training images to validate on, where no part is set apart (0.1; digits 0.2, "
        "with cnn 0.35)",
    )
    images: str = _option(
        "auto",
        "data",
        OneOf(IMAGES),
        None,
        "image folders: memory (decoded once), stream (from their files) or auto (by size: 8 GiB)",
    )

    normalize: str = _option(
        "train",
        "data",
        OneOf(NORMALIZATIONS),
        None,
        "by mean and deviation of the training part, or by known ones: {choices} (train)",
    )

    family: str | None = _option(
        None,
        "chain",
        Listed(FAMILIES.names),
        "NAME",
        "of the models: {choices}, yours (that of the models that are named; else of digits cnn, "
        "of others resnet)",
    )
    models: str | None = _option(
        None,
        "chain",
        text,
        "MODULE",
        "module of parts of your own (networks, data, guidances, losses), as mypackage.mymodels",
    )
    teacher: str | None = _option(None, "chain", text, "NAME", "largest model of every chain")
    student: str | None = _option(None, "chain", text, "NAME", "smallest model, the one you ship")
    teacher_weights: str | None = _option(
        None,
        "chain",
        path_text,
        "FILE",
        "weights of the teacher: then it isn't trained",
        scope=Scope.PLACE,
    )
    assistants: tuple[str, ...] | None = _option(
        None,
        "chain",
        names,
        "A,B,...",
        "candidate assistants, or none (all members strictly between)",
    )
    max_assistants: int | None = _option(
        None, "chain", integer(0), "N", "longest chain to try (as many as there are candidates)"
    )
    guidance: tuple[str, ...] = _option(
        (DEFAULT_GUIDANCE,),
        "chain",
        SeveralNamed(guidance_names, 1),
        "G,...",
        "who teaches whom: {choices}; several are searched over (dense)",
    )
    drop_prob: DropGrid = _option(
        DEFAULT_DROPS,
        "chain",
        drop_grid,
        "P|P,P|LOW:HIGH",
        "probability that a teacher is dropped from a mini-batch (0:0.5)",
    )
    drop_scope: str = _option(
        "student",
        "chain",
        OneOf(DROP_SCOPES),
        None,
        "whose teachers are dropped: student, all (student)",
    )

    epochs: int | None = _option(
        None, "recipe", within(EPOCHS), "N", "epochs of teacher and assistants"
    )
    student_epochs: int | None = _option(
        None, "recipe", within(EPOCHS), "N", "epochs of the final student (as many as --epochs)"
    )
    batch_size: int | None = _option(None, "recipe", within(BATCH_SIZE), "N", "images a mini-batch")
    # Narrower than a recipe's: --tune varies the rate by up to four times.
    lr: float | None = _option(None, "recipe", number(1e-10, 1000), "X", "peak learning rate")
    weight_decay: float | None = _option(None, "recipe", within(WEIGHT_DECAY), "X", "weight decay")
    schedule: str | None = _option(
        None, "recipe", OneOf(SCHEDULES), None, "learning rate: " + ", ".join(SCHEDULES)
    )
    temperature: float = _option(
        4.0,
        "recipe",
        within(TEMPERATURE, digits=SETTING_DIGITS),
        "X",
        "temperature of distillation (4)",
    )
    kd_weight: float = _option(
        0.9,
        "recipe",
        within(KD_WEIGHT, digits=SETTING_DIGITS),
        "X",
        "weight of the teachers beside the labels (0.9)",
    )
    loss: str = _option(
        KL.name,
        "recipe",
        Named(loss_names),
        "NAME",
        "how far a learner is from its teachers: {choices} (kl)",
    )
    loss_scale: str = _option(
        "mean",
        "recipe",
        OneOf(LOSS_SCALES),
        None,
        "mean over the teachers, or the paper's sum (mean)",
    )
    augment: str | None = _option(
        None,
        "recipe",
        OneOf(AUGMENTS),
        None,
        "none, flip, crop or resized-crop, each crop also with +flip",
    )

    views: int | None = _option(
        None,
        "recipe",
        integer(1),
        "N",
        f"fixed views of each image that augmentation cycles through (epochs, up to {MAX_VIEWS})",
    )
    outputs: str | None = _option(
        None,
        "recipe",
        OneOf(OUTPUTS),
        "NAME",
        "what teachers say of a view: stored once, or online at every batch (stored; folders under "
        "resized-crop: online)",
    )
    precision: str = _option(
        "auto", "recipe", OneOf(PRECISIONS), None, "auto (CPU fp32, GPU bf16), fp32, bf16"
    )
    compile: bool = _option(
        False,
        "recipe",
        flag,
        None,
        "train models through torch.compile (up to half a minute a model)",
    )

    budget: int | None = _option(
        None,
        "search",
        integer(1),
        "N",
        "trials to complete or prune (digits 20, others 32)",
        scope=Scope.EXTENT,
    )
    objective: tuple[str, ...] = _option(
        ("accuracy",),
        "search",
        objectives,
        "O,...",
        "accuracy, or accuracy,cost: little work to train the chain too; no pruning (accuracy)",
    )
    tune: tuple[str, ...] = _option(
        (),
        "search",
        SeveralOf(TUNABLE, 0),
        "T,...",
        f"also search over the student's {', '.join(TUNABLE)} ({TEMPERATURES[0]:g} to "
        f"{TEMPERATURES[1]:g}, {KD_WEIGHTS[0]:g} to {KD_WEIGHTS[1]:g}, the rate by a factor of "
        f"{1 / LR_FACTOR:g} to {LR_FACTOR:g})",
    )
    sampler: str = _option(
        "tpe", "search", Named(SAMPLERS.names), None, "Optuna's sampler: {choices}"
    )
    pruner: str = _option(
        "median", "search", Named(PRUNERS.names), None, "Optuna's pruner: {choices}"
    )
    seed: int = _option(0, "search", integer(0), "N", "seed of the sampler (0)")
    train_seed: int = _option(0, "search", integer(0), "N", "seed of the training (0)")
    split_seed: int = _option(0, "search", within(SEED), "N", "seed of the validation split (0)")
    no_reference: bool = _option(
        False, "search", flag, None, "don't train the student alone to compare with"
    )
    confirm: ReplicationPlan | None = _option(
        None,
        "search",
        replication_plan,
        "TOPxSEEDS",
        "teach the best TOP, plain KD and the student alone again with SEEDS seeds; or off (3x5; "
        "cnn on digits 2x10)",
        scope=Scope.EXTENT,
    )
    time_budget: float | None = _option(
        None, "search", duration, "T", "stop after this time: 90, 30m, 2h", scope=Scope.EXTENT
    )
    dry_run: bool = _option(
        False, "search", flag, None, "check everything and say what would run", scope=Scope.SESSION
    )

    concurrency: int | None = _option(
        None,
        "resources",
        integer(1),
        "N",
        "trials at once (as many as cores or GPUs carry)",
        scope=Scope.RESOURCES,
    )
    gpus_per_trial: float | None = _option(
        None,
        "resources",
        gpus,
        "X",
        "GPU share of a trial (1 if there is a GPU, else 0)",
        scope=Scope.RESOURCES,
    )
    cpus_per_trial: int = _option(
        1, "resources", within(THREADS), "N", "CPU threads of a trial (1)", scope=Scope.THREADS
    )
    address: str | None = _option(
        None,
        "resources",
        text,
        "ADDR",
        "a Ray cluster's address (this machine alone)",
        scope=Scope.RESOURCES,
    )

    out: str | None = _option(
        None,
        "output",
        path_text,
        "DIR",
        "run folder (a fresh name under runs/)",
        scope=Scope.SESSION,
    )
    store: str | None = _option(
        None,
        "output",
        path_text,
        "DIR",
        "where trained stages are kept (the user's cache folder); none: shared by no trial",
        scope=Scope.PLACE,
    )
    store_limit: int | None = _option(
        None,
        "output",
        size,
        "SIZE",
        "room for stored outputs, such as 20G (no limit)",
        scope=Scope.RESOURCES,
    )
    log_to: tuple[str, ...] = _option(
        (),
        "output",
        SeveralOf(TRACKERS, 0),
        "T,...",
        "also to " + ", ".join(TRACKERS),
        scope=Scope.RESOURCES,
    )
    quiet: bool = _option(
        False, "output", flag, None, "no progress, one line at the end", scope=Scope.SESSION
    )
    json: bool = _option(
        False,
        "output",
        flag,
        None,
        "progress and summary as JSON, a line an event, for programs",
        scope=Scope.SESSION,
    )

    extra: OptionValues = ()

    def values(self) -> dict[str, Any]:
        """All of them by name, those of packages as far as they have a value."""
        return {**{name: getattr(self, name) for name in _OWN}, **dict(self.extra)}

    def value(self, name: str) -> Any:
        """The value of an option, by its name in any spelling."""
        values, name = self.values(), canonical_name(name)
        return values[name] if name in values else OPTIONS.get(name).default

    def with_values(self, values: Mapping[str, Any]) -> Options:
        """The same with other values, by name."""
        own = {name: value for name, value in values.items() if name in _OWN}
        extra = {name: value for name, value in values.items() if name not in _OWN}
        return replace(self, **own, extra=option_values({**dict(self.extra), **extra}))


def scope_of(name: str) -> Scope:
    """Of an option, by its name in any spelling.

    Raises:
        InputError: there is none of that name.
    """
    return OPTIONS.get(name).scope


def canonical_name(name: str) -> str:
    """An option's name in underscores, from any spelling of it."""
    name = name.replace("-", "_")
    return ALIASES.get(name, name)


# Of the product; register_option adds others.
OPTIONS = Registry[Option](
    "option",
    "dgkd_search.options",
    (Option(f.name, f.default, **f.metadata) for f in fields(Options) if f.metadata),
    canonical=canonical_name,
)
_OWN = tuple(option.name for option in OPTIONS.known())
