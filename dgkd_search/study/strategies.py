"""The registries of samplers and pruners; Optuna is imported when one is created.

To add one, add an entry here or, in another package, call ``register_sampler`` or
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
# Fewer than Optuna's 10: the first trials are chosen deliberately, and budgets are small.
STARTUP_TRIALS = 5
_REDUCTION = 3


@dataclass(frozen=True)
class SamplerKind:
    """A sampler that a search can use.

    Attributes:
        name: its name for ``--sampler``.
        make: creates a sampler from a seed in [0, 2**32). It is called for every draw with another
            seed, so a sampler must take all its knowledge from the study.
        options: names of registered options. ``make`` gets their values as keyword arguments, with
            underscores in the names.
        summary: a short description for ``--help``.
    """

    name: str
    make: Callable[..., BaseSampler]
    options: tuple[str, ...] = ()
    summary: str = ""

    def create(self, seed: int, options: OptionValues = ()) -> BaseSampler:
        """Create a sampler.

        Args:
            options: values of its options.

        Raises:
            InputError: ``make`` fails.
        """
        return _create(f"--sampler {self.name}", partial(self.make, **dict(options)), seed)


@dataclass(frozen=True)
class PrunerKind:
    """A pruner that a search can use.

    Attributes:
        name: its name for ``--pruner``.
        make: creates a pruner from the number of epochs of a student; accuracies are reported from
            step 1.
        options, summary: as for ``SamplerKind``.
    """

    name: str
    make: Callable[..., BasePruner]
    options: tuple[str, ...] = ()
    summary: str = ""

    def create(self, epochs: int, options: OptionValues = ()) -> BasePruner:
        """Create a pruner.

        Args:
            options: values of its options.

        Raises:
            InputError: ``make`` fails.
        """
        return _create(f"--pruner {self.name}", partial(self.make, **dict(options)), epochs)


def _create(label: str, make: Callable[[int], T], value: int) -> T:
    from optuna.exceptions import ExperimentalWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(value)
    except Exception as error:  # a user's function may raise anything
        raise InputError(
            f"{label}: can't be created ({one_line(error, 200, with_class=True)}); fix its package"
        ) from error


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    # It samples all parameters jointly, as every sampler must here, and considers running trials.
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _median(epochs: int) -> BasePruner:
    from optuna.pruners import MedianPruner

    # At a high learning rate, learning curves cross. Measured on CIFAR-10: pruning in the first
    # third of the epochs stopped 14 of 15 trials.
    return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 2))


def _least(epochs: int) -> int:
    return max(1, epochs // _REDUCTION**2)


def _hyperband(epochs: int) -> BasePruner:
    from optuna.pruners import HyperbandPruner

    # The maximum is explicit: inferred from the first trials, it would change a resumed study.
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
        SamplerKind("tpe", _tpe, summary="learns from earlier trials which chains are good"),
        SamplerKind("random", _random, summary="draws chains at random"),
    ),
)
PRUNERS = Registry[PrunerKind](
    "pruner",
    "dgkd_search.pruners",
    (
        PrunerKind(
            "median", _median, summary="stops trials below the median, from half the epochs on"
        ),
        PrunerKind("hyperband", _hyperband, summary="brackets of successive halving"),
        PrunerKind("sha", _sha, summary="successive halving: a third continues at each rung"),
        PrunerKind("patient", _patient, summary="median, once a student stops improving"),
        PrunerKind(NO_PRUNER, _no_pruner, summary="never stops a trial"),
    ),
)


def register_sampler(
    name: str, make: Callable[..., BaseSampler], options: Sequence[str] = (), summary: str = ""
) -> None:
    """Register an Optuna sampler, so that searches can use it as ``--sampler NAME``.

    Call this at the top level of a module. Name the module with ``--models`` or, in a package, in
    an entry point of the group ``dgkd_search.samplers`` with the sampler's name.

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
    """Register a pruner, so that searches can use it as ``--pruner NAME``.

    See ``register_sampler``.

    Args:
        make, options, summary: see ``PrunerKind``.

    Raises:
        ValueError: the name is taken.
    """
    kind = PrunerKind(name, make, option_names(options), summary)
    PRUNERS.register(kind, calling_module())
