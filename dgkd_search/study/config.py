"""The configuration of a study: data, search space, recipe, budget.

``config.options`` holds the user's options, some of them unset. ``config.resolve`` turns them into
a ``StudyConfig``, in which every value is set.
"""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.option_values import OptionValues

TUNABLE = ("temperature", "kd-weight", "lr")
SETTING_DIGITS = 10  # sampled settings are rounded, so that equal settings have equal keys
# Lowest, highest and step of tuned values; the learning rate is tuned by a factor.
TEMPERATURES = 1.0, 10.0, 0.5
KD_WEIGHTS = 0.1, 1.0, 0.05
LR_FACTOR = 4.0
DROP_SCOPES = ("student", "all")


@dataclass(frozen=True)
class ChainSpace:
    """The configurations that a study may try.

    Attributes:
        teacher, student: the fixed ends of every chain.
        pool: candidate assistants, largest first.
        max_assistants: largest number of assistants in a chain, 0 to len(pool).
        guidances: at least one; the first is preferred.
        drop_probs: allowed values, ascending, at least one.
        drop_scope: ``student`` (assistants don't drop teachers) or ``all``.
        tune: values of ``TUNABLE`` that the sampler varies for the student.
    """

    teacher: str
    student: str
    pool: tuple[str, ...]
    max_assistants: int
    guidances: tuple[str, ...] = (DEFAULT_GUIDANCE,)
    drop_probs: tuple[float, ...] = (0.0,)
    drop_scope: str = "student"
    tune: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyConfig:
    """Everything that defines the results of a study, except the fingerprint of the dataset.

    Attributes:
        budget: number of trials that complete or are pruned, at least 1.
        outputs: one of ``recipe.OUTPUTS``.
        time_budget: seconds after which all trials are stopped, or None.
        objectives: ``accuracy`` (on validation), or that and ``cost`` (of training the chain).
        confirm_top, confirm_seeds: number of best configurations that are trained again after the
            trials, and number of fresh seeds of each; 0 for none.
        sampler_options, pruner_options: values of the options of the sampler and pruner.
        reference: whether the student is also trained on labels alone.
        seed: seed of the sampler; ``train_seed`` is that of the models.
    """

    data: DataConfig
    family: str
    space: ChainSpace
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
    sampler_options: OptionValues = ()
    pruner_options: OptionValues = ()


@dataclass(frozen=True)
class Resources:
    """The resources on which trials run.

    Attributes:
        concurrency: number of trials at once, at least 1.
        cpus_per_trial: CPU threads of a trial, at least 1.
        gpus_per_trial: GPU share of a trial: 0, a fraction below 1, or a whole number.
        address: address of a Ray cluster; None for this machine only.
    """

    concurrency: int = 1
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    address: str | None = None
