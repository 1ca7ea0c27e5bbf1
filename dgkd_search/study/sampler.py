"""A wrapper for Optuna's samplers that never proposes the same student twice."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, create_study
from optuna.trial import FrozenTrial

from dgkd_search.errors import DgkdError
from dgkd_search.study.space import Params, ParamValue, SearchSpace
from dgkd_search.study.strategies import SAMPLERS
from dgkd_search.utils.hashing import derive_seed
from dgkd_search.utils.option_values import OptionValues

# A draw takes TPE about 15 ms. In a small space that is half explored, most draws are duplicates.
_ATTEMPTS = 12
_DRAW = "draw"  # system attribute of every trial


class DistinctSampler(BaseSampler):
    """Wraps one of Optuna's samplers so that each trial trains a new student.

    The first trials have the parameters in ``first``. After them, a duplicate or out-of-bounds draw
    is drawn again. After 12 draws, the unseen configuration closest to the first draw is taken.
    Each draw uses a new sampler, seeded by (seed, trial number, attempt), so that a resumed study
    continues as if it had not been interrupted.

    Args:
        space: the search space.
        name: name of a ``SamplerKind``.
        seed: the study's sampler seed.
        seen: returns the identities of the configurations of all trials but the given one.
        first: parameters of the first trials, in order.
        options: values of the sampler's options.
    """

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        seed: int,
        seen: Callable[[int], set[tuple[object, ...]]],
        first: Sequence[Params],
        options: OptionValues = (),
    ) -> None:
        self._space = space
        self._name = name
        self._seed = seed
        self._seen = seen
        self._first = first
        self._options = options

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, ParamValue]:
        """Return all parameters of the trial.

        The draw is stored before it is returned: Optuna stores parameters one by one, and a stop in
        between must not mix two draws.
        """
        noted: dict[str, ParamValue] | None = trial.system_attrs.get(_DRAW)
        if noted is None:
            noted = self._sample(study, trial, search_space)
            study._storage.set_trial_system_attr(trial._trial_id, _DRAW, noted)
        return noted

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, ParamValue]:
        seen = self._seen(trial.number)
        for params in self._first:
            if self._space.configuration(params).identity not in seen:
                return dict(params)
        shadow, shadow_trial = _in_memory(study, trial)
        draws = []
        for attempt in range(_ATTEMPTS):
            seed = derive_seed("sampler", self._seed, trial.number, attempt) % 2**32
            draws.append(self._draw(shadow, shadow_trial, search_space, seed))
            if self._is_new(draws[-1], seen):
                return draws[-1]
        return self._nearest(draws[0], seen, trial.number)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> ParamValue:
        raise AssertionError("every parameter is sampled jointly")

    def _draw(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
        seed: int,
    ) -> dict[str, ParamValue]:
        sampler = SAMPLERS.get(self._name).create(seed, self._options)
        params = sampler.sample_relative(study, trial, search_space)
        # Parameters that a sampler doesn't draw jointly (TPE at its start) are drawn independently.
        return {
            name: params[name]
            if name in params
            else sampler.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def _is_new(self, params: Params, seen: set[tuple[object, ...]]) -> bool:
        admitted = self._space.admits(params)
        return admitted and self._space.configuration(params).identity not in seen

    def _nearest(
        self, wanted: Params, seen: set[tuple[object, ...]], number: int
    ) -> dict[str, ParamValue]:
        """Return the unseen configuration closest to ``wanted``; of equals, a random one."""
        rate = {"lr": wanted["lr"]} if self._space.is_continuous else {}
        unseen = [
            params
            for params in ({**known, **rate} for known in self._space.all_params())
            if self._is_new(params, seen)
        ]
        if not unseen:
            raise DgkdError("every configuration of the search space has been tried")
        random.Random(derive_seed("pick", self._seed, number)).shuffle(unseen)
        return min(unseen, key=lambda params: self._space.distance(params, wanted))


def _in_memory(study: Study, trial: FrozenTrial) -> tuple[Study, FrozenTrial]:
    """Return an in-memory copy of ``study``, and ``trial`` in it.

    Samplers read the storage at every draw, and TPE writes to it. In memory, a hundred draws cost
    as much as a few in SQLite, and rejected draws leave no trace.
    """
    trials = study.get_trials(deepcopy=False)
    shadow = create_study(directions=study.directions)
    shadow.add_trials([_without_attributes(t) for t in trials])
    index = next(i for i, t in enumerate(trials) if t.number == trial.number)
    return shadow, shadow.get_trials(deepcopy=False)[index]


def _without_attributes(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy without attributes, which samplers don't read and are expensive to copy."""
    bare = copy.copy(trial)
    bare.user_attrs, bare.system_attrs = {}, {}
    return bare
