"""What a study is: its data, its search space, its budget. Values only; no defaults by family.

``options`` holds what a user may leave open; ``resolve`` turns that into a ``StudyConfig``, in
which nothing is open any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.option_values import OptionValues

TUNABLE = ("temperature", "kd-weight", "lr")
SETTING_DIGITS = 10  # of settings that a sampler may draw: equal ones must have equal keys
# Lowest, highest and step of what is tuned; the rate is tuned by a factor.
TEMPERATURES = 1.0, 10.0, 0.5
KD_WEIGHTS = 0.1, 1.0, 0.05
LR_FACTOR = 4.0
DROP_SCOPES = ("student", "all")


@dataclass(frozen=True)
class ChainSpace:
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
    guidances: tuple[str, ...] = (DEFAULT_GUIDANCE,)
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
        objectives: ``accuracy`` (on validation), or that and ``cost`` (to train the chain).
        confirm_top, confirm_seeds: how many configurations are taught again after the budget,
            and with how many seeds each; 0 for none.
        sampler_options, pruner_options: values of the options that they take.
        reference: whether the student is also trained on labels alone.
        seed: the sampler's; ``train_seed`` is the models'.
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
