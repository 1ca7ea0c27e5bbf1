"""The samplers and pruners by name; Optuna is imported when one is made.

Another one is an entry here or, in a package of one's own, ``register_sampler`` or
``register_pruner``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.option_values import OptionValues, option_names
from dgkd_search.utils.registry import Registry, calling_module

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

T = TypeVar("T")
# Fewer than Optuna's 10: the first trials are chosen with care, and budgets are small.
STARTUP_TRIALS = 5
_REDUCTION = 3


@dataclass(frozen=True)
class SamplerKind:
    """A sampler that a search can be asked for.

    Attributes:
        name: what ``--sampler`` calls it.
        make: from a seed, in [0, 2**32). It is made anew for every draw, with another seed each
            time: what it knows it must take from the study.
        options: names of registered options that it takes; ``make`` is called with their values
            too, by these names in underscores.
        summary: what it does, in a few words for ``--help``.
    """

    name: str
    make: Callable[..., BaseSampler]
    options: tuple[str, ...] = ()
    summary: str = ""

    def create(self, seed: int, options: OptionValues = ()) -> BaseSampler:
        """A sampler.

        Args:
            options: values of those that it takes.

        Raises:
            InputError: it can't be made.
        """
        return _create(f"--sampler {self.name}", partial(self.make, **dict(options)), seed)


@dataclass(frozen=True)
class PrunerKind:
    """A pruner that a search can be asked for.

    Attributes:
        name: what ``--pruner`` calls it.
        make: from the number of epochs of a student, whose accuracies are reported from step 1.
        options, summary: as of a ``SamplerKind``.
    """

    name: str
    make: Callable[..., BasePruner]
    options: tuple[str, ...] = ()
    summary: str = ""

    def create(self, epochs: int, options: OptionValues = ()) -> BasePruner:
        """A pruner.

        Args:
            options: values of those that it takes.

        Raises:
            InputError: it can't be made.
        """
        return _create(f"--pruner {self.name}", partial(self.make, **dict(options)), epochs)


def _create(label: str, make: Callable[[int], T], value: int) -> T:
    from optuna.exceptions import ExperimentalWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(value)
    except Exception as error:  # whatever a user's function raises
        raise InputError(
            f"{label}: can't be made ({one_line(error, 200, with_class=True)}); mend its package"
        ) from error


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    # It samples jointly, which is asked of every sampler, and counts running trials in.
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _median(epochs: int) -> BasePruner:
    from optuna.pruners import MedianPruner

    # At a high learning rate curves cross: measured on CIFAR-10 images, accuracies of the first
    # third of the epochs pruned 14 trials of 15.
    return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 2))


def _least(epochs: int) -> int:
    return max(1, epochs // _REDUCTION**2)


def _hyperband(epochs: int) -> BasePruner:
    from optuna.pruners import HyperbandPruner

    # Its maximum is explicit: learnt from the first trials, a resumed study would differ.
    return HyperbandPruner(_least(epochs), epochs, _REDUCTION)


def _sha(epochs: int) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(_least(epochs), _REDUCTION)


def _patient(epochs: int) -> BasePruner:
    from optuna.pruners import PatientPruner

    return PatientPruner(_median(epochs), patience=max(1, epochs // 5))


def _no_pruner(epochs: int) -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


NO_PRUNER = "none"
SAMPLERS = Registry[SamplerKind](
    "sampler",
    "dgkd_search.samplers",
    (
        SamplerKind("tpe", _tpe, summary="learns from the trials so far which chains are good"),
        SamplerKind("random", _random, summary="learns nothing"),
    ),
)
PRUNERS = Registry[PrunerKind](
    "pruner",
    "dgkd_search.pruners",
    (
        PrunerKind(
            "median", _median, summary="ends what is worse than the median, from half the epochs on"
        ),
        PrunerKind("hyperband", _hyperband, summary="brackets of successive halving"),
        PrunerKind("sha", _sha, summary="successive halving: a third goes on at each rung"),
        PrunerKind("patient", _patient, summary="median, once a student stops getting better"),
        PrunerKind(NO_PRUNER, _no_pruner, summary="every trial trains to its end"),
    ),
)


def register_sampler(
    name: str, make: Callable[..., BaseSampler], options: Sequence[str] = (), summary: str = ""
) -> None:
    """Make one of Optuna's samplers, or one's own, known to searches, as ``--sampler NAME``.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.samplers`` under the sampler's name.

    Args:
        make, options, summary: see ``SamplerKind``.

    Raises:
        ValueError: the name is taken.
    """
    kind = SamplerKind(name, make, option_names(options), summary)
    SAMPLERS.register(kind, calling_module())


def register_pruner(
    name: str, make: Callable[..., BasePruner], options: Sequence[str] = (), summary: str = ""
) -> None:
    """Make a pruner known to searches, as ``--pruner NAME``; see ``register_sampler``.

    Args:
        make, options, summary: see ``PrunerKind``.

    Raises:
        ValueError: the name is taken.
    """
    kind = PrunerKind(name, make, option_names(options), summary)
    PRUNERS.register(kind, calling_module())
