"""The table of options: each has a group, a help line and a rule for its value.

The command line and ``--config`` files share this table (``parse_options``). ``resolve`` replaces
None by a default that depends on the family and the dataset.
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
from dgkd_search.data.config import (
    AUGMENTS,
    COLOR,
    IMAGE_SIZE,
    IMAGES,
    NORMALIZATIONS,
    SEED,
    VALIDATION,
)
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


# Earlier spellings: command lines, --config files and run folders may contain them.
ALIASES = {"normalise": "normalize"}
DEFAULT_DROPS = DropGrid((0.0, 0.5), True)


@dataclass(frozen=True)
class Options:
    """The values of all options; None means that the default depends on family and dataset.

    Attributes:
        extra: values of options that packages add, if a user sets them or a part takes them.
    """

    dataset: str = _option(
        "digits", "data", Named(dataset_names), "NAME", "{choices} (default: digits)"
    )
    data_dir: str | None = _option(
        None,
        "data",
        path_text,
        "PATH",
        "folder with the images (imagefolder) or the CIFAR archive, or .npz file (arrays)",
        scope=Scope.PLACE,
    )
    image_size: int | None = _option(
        None,
        "data",
        within(IMAGE_SIZE),
        "N",
        "resize images to N x N pixels (default: the dataset's size; imagefolder: 32, with "
        "resnet-imagenet: 224)",
    )
    train_limit: int | None = _option(
        None, "data", integer(2), "N", "train on a stratified subset of N images (default: all)"
    )
    validation: float | None = _option(
        None,
        "data",
        within(VALIDATION),
        "X",
        "fraction of the training images to validate on, if the dataset has no validation set "
        "(default: 0.1; digits: 0.2, with cnn: 0.35)",
    )
    images: str = _option(
        "auto",
        "data",
        OneOf(IMAGES),
        None,
        "how to read an image folder: memory (decode once), stream (decode every batch) or auto "
        "(stream above 8 GiB) (default: auto)",
    )

    normalize: str = _option(
        "train",
        "data",
        OneOf(NORMALIZATIONS),
        None,
        "mean and standard deviation to normalize with: of the training set (train), or of a known "
        "dataset; {choices} (default: train)",
    )

    background: str = _option(
        "white",
        "data",
        COLOR,
        "COLOR",
        "color behind transparent pixels of image files: white, black or #rrggbb (default: white)",
    )

    family: str | None = _option(
        None,
        "chain",
        Listed(FAMILIES.names),
        "NAME",
        "family of the models: {choices}, or your own (default: the family of the named models; "
        "if none is named, cnn on digits and resnet elsewhere)",
    )
    models: str | None = _option(
        None,
        "chain",
        text,
        "MODULE",
        "your own Python module with networks, datasets, guidances or losses, e.g. "
        "mypackage.mymodels",
    )
    teacher: str | None = _option(
        None, "chain", text, "NAME", "largest model of every chain (default: by family and dataset)"
    )
    student: str | None = _option(
        None,
        "chain",
        text,
        "NAME",
        "smallest model of every chain (default: by family and dataset)",
    )
    teacher_weights: str | None = _option(
        None,
        "chain",
        path_text,
        "FILE",
        "pretrained weights of the teacher, which is then not trained",
        scope=Scope.PLACE,
    )
    assistants: tuple[str, ...] | None = _option(
        None,
        "chain",
        names,
        "A,B,...",
        "candidate assistants, or none (default: all models of the family between teacher and "
        "student)",
    )
    max_assistants: int | None = _option(
        None,
        "chain",
        integer(0),
        "N",
        "largest number of assistants in a chain (default: the number of candidates)",
    )
    guidance: tuple[str, ...] = _option(
        (DEFAULT_GUIDANCE,),
        "chain",
        SeveralNamed(guidance_names, 1),
        "G,...",
        "which larger models guide a learner: {choices}; dense is DGKD, sequential TAKD, teacher "
        "KD; a list is searched over (default: dense)",
    )
    drop_prob: DropGrid = _option(
        DEFAULT_DROPS,
        "chain",
        drop_grid,
        "P|P,P|LOW:HIGH",
        "probability of dropping a teacher from a mini-batch: a value, a list or a range "
        "(default: 0:0.5)",
    )
    drop_scope: str = _option(
        "student",
        "chain",
        OneOf(DROP_SCOPES),
        None,
        "drop teachers of the student only, or of all learners: student, all (default: student)",
    )

    epochs: int | None = _option(
        None, "recipe", within(EPOCHS), "N", "epochs of the teacher and of each assistant"
    )
    student_epochs: int | None = _option(
        None, "recipe", within(EPOCHS), "N", "epochs of the student (default: --epochs)"
    )
    batch_size: int | None = _option(
        None, "recipe", within(BATCH_SIZE), "N", "images per mini-batch"
    )
    # Narrower than the recipe's range: --tune multiplies the rate by up to four.
    lr: float | None = _option(None, "recipe", number(1e-10, 1000), "X", "peak learning rate")
    weight_decay: float | None = _option(None, "recipe", within(WEIGHT_DECAY), "X", "weight decay")
    schedule: str | None = _option(
        None, "recipe", OneOf(SCHEDULES), None, "learning rate schedule: {choices}"
    )
    temperature: float = _option(
        4.0,
        "recipe",
        within(TEMPERATURE, digits=SETTING_DIGITS),
        "X",
        "distillation temperature (default: 4)",
    )
    kd_weight: float = _option(
        0.9,
        "recipe",
        within(KD_WEIGHT, digits=SETTING_DIGITS),
        "X",
        "weight of the distillation loss; the label loss has the rest (default: 0.9)",
    )
    loss: str = _option(
        KL.name,
        "recipe",
        Named(loss_names),
        "NAME",
        "distillation loss: {choices} (default: kl)",
    )
    loss_scale: str = _option(
        "mean",
        "recipe",
        OneOf(LOSS_SCALES),
        None,
        "mean over the teachers, or sum as in the paper (default: mean)",
    )
    augment: str | None = _option(
        None,
        "recipe",
        OneOf(AUGMENTS),
        None,
        "augmentation of the training images: {choices}",
    )

    views: int | None = _option(
        None,
        "recipe",
        integer(1),
        "N",
        "number of augmented views per image, through which the epochs cycle (default: the number "
        f"of epochs, at most {MAX_VIEWS})",
    )
    outputs: str | None = _option(
        None,
        "recipe",
        OneOf(OUTPUTS),
        "NAME",
        "teacher outputs: stored (computed once per view) or online (computed for every batch) "
        "(default: stored; image folders with resized-crop: online)",
    )
    precision: str = _option(
        "auto",
        "recipe",
        OneOf(PRECISIONS),
        None,
        "fp32, bf16 or auto (fp32 on a CPU, bf16 on a GPU) (default: auto)",
    )
    compile: bool = _option(
        False,
        "recipe",
        flag,
        None,
        "train with torch.compile, which takes up to half a minute per model",
    )

    budget: int | None = _option(
        None,
        "search",
        integer(1),
        "N",
        "number of trials that complete or are pruned (default: 32; digits: 20)",
        scope=Scope.EXTENT,
    )
    objective: tuple[str, ...] = _option(
        ("accuracy",),
        "search",
        objectives,
        "O,...",
        "accuracy, or accuracy,cost to also minimize the cost of training the chain, without "
        "pruning (default: accuracy)",
    )
    tune: tuple[str, ...] = _option(
        (),
        "search",
        SeveralOf(TUNABLE, 0),
        "T,...",
        f"also search over the student's temperature ({TEMPERATURES[0]:g} to "
        f"{TEMPERATURES[1]:g}), kd-weight ({KD_WEIGHTS[0]:g} to {KD_WEIGHTS[1]:g}) and lr "
        f"({1 / LR_FACTOR:g} to {LR_FACTOR:g} times --lr)",
    )
    sampler: str = _option(
        "tpe", "search", Named(SAMPLERS.names), None, "Optuna sampler: {choices} (default: tpe)"
    )
    pruner: str = _option(
        "median", "search", Named(PRUNERS.names), None, "Optuna pruner: {choices} (default: median)"
    )
    seed: int = _option(0, "search", integer(0), "N", "seed of the sampler (default: 0)")
    train_seed: int = _option(0, "search", integer(0), "N", "seed of the training (default: 0)")
    split_seed: int = _option(
        0, "search", within(SEED), "N", "seed of the validation split (default: 0)"
    )
    no_reference: bool = _option(
        False, "search", flag, None, "don't train the baseline, the student on labels alone"
    )
    confirm: ReplicationPlan | None = _option(
        None,
        "search",
        replication_plan,
        "TOPxSEEDS",
        "train the best TOP configurations, plain KD and labels alone again, each with SEEDS fresh "
        "seeds; or off (default: 3x5; cnn on digits: 2x10)",
        scope=Scope.EXTENT,
    )
    time_budget: float | None = _option(
        None,
        "search",
        duration,
        "T",
        "stop after this time, e.g. 90 (seconds), 30m, 2h (default: none)",
        scope=Scope.EXTENT,
    )
    dry_run: bool = _option(
        False,
        "search",
        flag,
        None,
        "check everything and print what would run",
        scope=Scope.SESSION,
    )

    concurrency: int | None = _option(
        None,
        "resources",
        integer(1),
        "N",
        "number of concurrent trials (default: as many as the cores or GPUs hold)",
        scope=Scope.RESOURCES,
    )
    gpus_per_trial: float | None = _option(
        None,
        "resources",
        gpus,
        "X",
        "GPUs per trial, or a fraction of one (default: 1 if there is a GPU, otherwise 0)",
        scope=Scope.RESOURCES,
    )
    cpus_per_trial: int = _option(
        1,
        "resources",
        within(THREADS),
        "N",
        "CPU threads per trial (default: 1)",
        scope=Scope.THREADS,
    )
    address: str | None = _option(
        None,
        "resources",
        text,
        "ADDR",
        "address of a Ray cluster (default: only this machine)",
        scope=Scope.RESOURCES,
    )

    out: str | None = _option(
        None,
        "output",
        path_text,
        "DIR",
        "run folder (default: a new folder in runs/)",
        scope=Scope.SESSION,
    )
    store: str | None = _option(
        None,
        "output",
        path_text,
        "DIR",
        "folder for trained stages and teacher outputs, or none: trials share nothing (default: in "
        "the user's cache folder)",
        scope=Scope.PLACE,
    )
    store_limit: int | None = _option(
        None,
        "output",
        size,
        "SIZE",
        "size limit of the stored teacher outputs, e.g. 20G (default: none)",
        scope=Scope.RESOURCES,
    )
    log_to: tuple[str, ...] = _option(
        (),
        "output",
        SeveralOf(TRACKERS, 0),
        "T,...",
        "log trials to {choices}",
        scope=Scope.RESOURCES,
    )
    quiet: bool = _option(
        False, "output", flag, None, "print one line at the end only", scope=Scope.SESSION
    )
    json: bool = _option(
        False,
        "output",
        flag,
        None,
        "print progress and summary as JSON, one event per line",
        scope=Scope.SESSION,
    )

    extra: OptionValues = ()

    def values(self) -> dict[str, Any]:
        """Return all values by name; options of packages only if they have a value."""
        return {**{name: getattr(self, name) for name in _OWN}, **dict(self.extra)}

    def value(self, name: str) -> Any:
        """Return the value of an option, by its name in any spelling."""
        values, name = self.values(), canonical_name(name)
        return values[name] if name in values else OPTIONS.get(name).default

    def with_values(self, values: Mapping[str, Any]) -> Options:
        """Return a copy in which these values, by name, replace the present ones."""
        own = {name: value for name, value in values.items() if name in _OWN}
        extra = {name: value for name, value in values.items() if name not in _OWN}
        return replace(self, **own, extra=option_values({**dict(self.extra), **extra}))


def scope_of(name: str) -> Scope:
    """Return the scope of an option, by its name in any spelling.

    Raises:
        InputError: no option has that name.
    """
    return OPTIONS.get(name).scope


def canonical_name(name: str) -> str:
    """Return an option's name with underscores, from any spelling of it."""
    name = name.replace("-", "_")
    return ALIASES.get(name, name)


# The built-in options; register_option adds others.
OPTIONS = Registry[Option](
    "option",
    "dgkd_search.options",
    (Option(f.name, f.default, **f.metadata) for f in fields(Options) if f.metadata),
    canonical=canonical_name,
)
_OWN = tuple(option.name for option in OPTIONS.known())
