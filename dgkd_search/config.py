"""What a study is: its data, its search space, its budget. Values only; no defaults by family.

``options`` holds what a user may leave open; ``resolve`` turns that into a ``StudyConfig``, in
which nothing is open any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.recipe import Distillation, Numerics, Recipe

DATASETS = ("digits", "cifar10", "cifar100", "imagefolder", "arrays")
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "hyperband", "sha", "patient", "none")
OBJECTIVES = ("accuracy", "cost")
TUNABLE = ("temperature", "kd-weight", "lr")
DROP_SCOPES = ("student", "all")
IMAGES = ("auto", "memory", "stream")
TRACKERS = ("tensorboard", "mlflow", "wandb")
NORMALISATIONS = ("train", "imagenet", "cifar10", "cifar100")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split.

    Attributes:
        dataset: one of ``DATASETS``.
        data_dir: folder of the files; not needed for digits.
        image_size: height and width in pixels; None keeps the data set's own (folders: 32).
        train_limit: number of training images, a stratified subset; None takes all.
        split_seed: seed of the validation split and of the subset.
        images: one of ``IMAGES``: decoded beforehand into arrays that lie in memory, or streamed
            from the files of a folder; ``auto`` streams folders that are too large.
        normalise: one of ``NORMALISATIONS``: by mean and deviation of the training part, or by the
            known ones of a data set, as networks that were trained elsewhere expect.
        merged: whether the validation images are trained on too, as nothing is chosen by them any
            more; the validation part then says how well they are fitted.
    """

    dataset: str
    data_dir: str | None = None
    image_size: int | None = None
    train_limit: int | None = None
    split_seed: int = 0
    images: str = "auto"
    normalise: str = "train"
    merged: bool = False


@dataclass(frozen=True)
class Space:
    """Which configurations a study may try.

    Attributes:
        teacher, student: the fixed ends of every chain.
        pool: candidate assistants, largest first.
        max_assistants: bound on a chain's assistants, 0 to len(pool).
        guidances: at least one, the first is the preferred one.
        drop_probs: the values allowed, ascending, at least one.
        drop_scope: ``student`` (assistants never drop) or ``all``.
        tune: which of ``TUNABLE`` the sampler may vary for the final student.
    """

    teacher: str
    student: str
    pool: tuple[str, ...]
    max_assistants: int
    guidances: tuple[str, ...] = ("dense",)
    drop_probs: tuple[float, ...] = (0.0,)
    drop_scope: str = "student"
    tune: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyConfig:
    """Everything that defines a study's results, besides the data's fingerprint.

    Attributes:
        budget: trials that complete or are pruned, at least 1.
        outputs: one of ``recipe.OUTPUTS``.
        time_budget: seconds after which no trial goes on, or None.
        objectives: of ``OBJECTIVES``: validation accuracy, and what the chain costs to train.
        confirm_top, confirm_seeds: how many configurations are taught again after the budget,
            and with how many seeds each; 0 for none.
        reference: whether the student is also trained on labels alone.
        seed: the sampler's; ``train_seed`` is the models'.
    """

    data: DataConfig
    family: str
    space: Space
    recipe: Recipe
    student_recipe: Recipe
    distillation: Distillation
    numerics: Numerics
    budget: int
    outputs: str = "stored"
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0
    train_seed: int = 0
    reference: bool = True
    time_budget: float | None = None
    objectives: tuple[str, ...] = ("accuracy",)
    confirm_top: int = 0
    confirm_seeds: int = 0


@dataclass(frozen=True)
class Resources:
    """Where trials run.

    Attributes:
        concurrency: trials at once, at least 1.
        cpus_per_trial: CPU threads of a trial, at least 1.
        gpus_per_trial: GPU share of a trial: 0, a fraction below 1, or a whole number.
        address: a Ray cluster's address, or None for this machine alone.
    """

    concurrency: int = 1
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    address: str | None = None
