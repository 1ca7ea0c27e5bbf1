"""The search space: converts between Optuna's parameters and configurations of a trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dgkd_search.distillation.chain import Chain, models_needed
from dgkd_search.errors import InputError
from dgkd_search.study.config import (
    KD_WEIGHTS,
    LR_FACTOR,
    SETTING_DIGITS,
    TEMPERATURES,
    ChainSpace,
)
from dgkd_search.training.recipe import Distillation

ParamValue: TypeAlias = CategoricalChoiceType
Params: TypeAlias = Mapping[str, ParamValue]  # Optuna's parameters: a value per distribution

_FIRST_DROP = 0.25  # the paper's best survival probability is 0.75


@dataclass(frozen=True)
class Configuration:
    """The configuration of a trial: a chain, and the loss and learning rate of its student."""

    chain: Chain
    distillation: Distillation
    lr: float

    @property
    def drop_prob(self) -> float | None:
        """The student's drop probability; None if it has fewer than two teachers."""
        chain = self.chain.canonical()
        teachers = len(chain.teachers(len(chain.models) - 1))
        return self.distillation.drop_prob if teachers > 1 else None

    @property
    def identity(self) -> tuple[object, ...]:
        """A value that two configurations share if and only if they train the same student."""
        chain = self.chain.canonical()
        teachers = len(chain.teachers(len(chain.models) - 1))
        return chain, self.distillation.canonical(teachers), self.lr


class SearchSpace:
    """Converts between parameters and configurations.

    Each assistant is a 0/1 integer (``use_resnet20``), so that a sampler can learn the effect of
    each. The drop probability is always a parameter, even for a student with one teacher, which
    ignores it: a conditional parameter would never be sampled jointly.

    Args:
        space: the allowed chains and values.
        distillation, lr: the student's values of what is not tuned.
    """

    def __init__(self, space: ChainSpace, distillation: Distillation, lr: float) -> None:
        self.space = space
        self._distillation = distillation
        self._lr = lr
        self.distributions: dict[str, BaseDistribution] = {
            _use(name): IntDistribution(0, 1) for name in space.pool
        }
        if len(space.guidances) > 1:
            self.distributions["guidance"] = CategoricalDistribution(space.guidances)
        if len(space.drop_probs) > 1:
            self.distributions["drop_prob"] = _drops(space.drop_probs)
        if "temperature" in space.tune:
            self.distributions["temperature"] = _stepped(TEMPERATURES)
        if "kd-weight" in space.tune:
            self.distributions["kd_weight"] = _stepped(KD_WEIGHTS)
        if "lr" in space.tune:
            self.distributions["lr"] = FloatDistribution(lr / LR_FACTOR, lr * LR_FACTOR, log=True)

    def admits(self, params: Params) -> bool:
        """Return whether the number of assistants is within its bound."""
        count = sum(bool(params[_use(name)]) for name in self.space.pool)
        return count <= self.space.max_assistants

    def distance(self, one: Params, other: Params) -> float:
        """Return the distance of two sets of parameters.

        Each differing assistant or choice adds 1; a number adds its difference as a share of its
        range.
        """
        total = 0.0
        for name, distribution in self.distributions.items():
            a, b = one[name], other[name]
            if isinstance(distribution, CategoricalDistribution):
                total += a != b
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                total += abs(_number(a) - _number(b)) / (distribution.high - distribution.low)
        return total

    def configuration(self, params: Params) -> Configuration:
        """Return the configuration of ``params``."""
        space = self.space
        assistants = tuple(name for name in space.pool if params[_use(name)])
        chain = Chain(
            (space.teacher, *assistants, space.student),
            str(params.get("guidance", space.guidances[0])),
        )
        base = self._distillation
        distillation = replace(
            base,
            kd_weight=_tidy(params.get("kd_weight", base.kd_weight)),
            temperature=_tidy(params.get("temperature", base.temperature)),
            drop_prob=_tidy(params.get("drop_prob", space.drop_probs[0])),
        )
        return Configuration(chain, distillation, _number(params.get("lr", self._lr)))

    def initial_params(self) -> dict[str, Params]:
        """Return the parameters of the first trials, by name.

        ``kd``: no assistant; ``full``: all candidates, or as many as the bound allows, evenly
        spread; ``middle``: only the lower middle candidate. Two names may have the same student
        (with one candidate, ``full`` is ``middle``). A name whose chain is equivalent to plain KD
        under every allowed guidance is left out. If no guidance uses a teacher, the only name is
        ``alone``.
        """
        pool, bound = self.space.pool, self.space.max_assistants
        result = {"kd": self._params(())}
        if bound:
            result["full"] = self._params(_spread(pool, min(bound, len(pool))))
            result["middle"] = self._params((pool[len(pool) // 2],))
        needed = models_needed(self._teaching(), bound)
        if needed == 1:
            return {"alone": result["kd"]}
        return {"kd": result["kd"]} if needed == 2 else result

    def all_params(self) -> Iterator[Params]:
        """Yield the parameters of every distinct configuration; a tuned ``lr`` is the recipe's."""
        seen: set[tuple[object, ...]] = set()
        grids = [self._grid(name) for name in self.distributions if not name.startswith("use_")]
        names = [name for name in self.distributions if not name.startswith("use_")]
        for count in range(self.space.max_assistants + 1):
            for assistants in itertools.combinations(self.space.pool, count):
                for values in itertools.product(*grids):
                    params = {**self._params(assistants), **dict(zip(names, values, strict=True))}
                    identity = self.configuration(params).identity
                    if identity not in seen:
                        seen.add(identity)
                        yield params

    @property
    def is_continuous(self) -> bool:
        """Whether a continuous parameter makes the number of configurations unlimited."""
        return "lr" in self.distributions

    def _teaching(self) -> str:
        """Return the guidance that uses the most models of a chain; of equals, the first."""
        longest = self.space.max_assistants

        def rank(name: str) -> tuple[int, int]:
            return models_needed(name, longest), models_needed(name, 1)

        return max(self.space.guidances, key=rank)

    def _params(self, assistants: tuple[str, ...]) -> Params:
        drop = min(self.space.drop_probs, key=lambda p: abs(p - _FIRST_DROP))
        fixed: dict[str, ParamValue] = {
            "guidance": self._teaching(),
            "drop_prob": drop,
            "temperature": self._distillation.temperature,
            "kd_weight": self._distillation.kd_weight,
            "lr": self._lr,
        }
        params: dict[str, ParamValue] = {
            _use(name): int(name in assistants) for name in self.space.pool
        }
        for name, value in fixed.items():
            if name in self.distributions:
                params[name] = _nearest(self.distributions[name], value)
        return params

    def _grid(self, name: str) -> list[ParamValue]:
        distribution = self.distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)
        assert isinstance(distribution, FloatDistribution)
        if distribution.step is None:
            return [self._lr]
        steps = round((distribution.high - distribution.low) / distribution.step)
        return [_tidy(distribution.low + i * distribution.step) for i in range(steps + 1)]


def check_params(several: Sequence[Params]) -> None:
    """Check that a caller's parameters are plain values.

    Raises:
        InputError: one of them is not.
    """
    for params in several:
        for name, value in params.items():
            if not isinstance(value, bool | int | float | str | None):
                raise InputError(
                    f"initial_params: {name} is {value!r}, of {type(value).__name__}; give plain "
                    "numbers and texts"
                )


def _use(name: str) -> str:
    return f"use_{name}"


def _number(value: ParamValue) -> float:
    """Return the value of a numeric parameter."""
    assert isinstance(value, int | float)
    return float(value)


def _tidy(value: ParamValue) -> float:
    """Round 0.15000000000000002 to 0.15: equal settings must have equal keys."""
    return round(_number(value), SETTING_DIGITS)


def _stepped(values: tuple[float, float, float]) -> FloatDistribution:
    low, high, step = values
    return FloatDistribution(low, high, step=step)


def _drops(values: tuple[float, ...]) -> BaseDistribution:
    """Return evenly spaced values as a range, whose order a sampler knows; others as choices."""
    gaps = {_tidy(b - a) for a, b in itertools.pairwise(values)}
    if len(gaps) == 1:
        return FloatDistribution(values[0], values[-1], step=gaps.pop())
    return CategoricalDistribution(values)


def _nearest(distribution: BaseDistribution, wanted: ParamValue) -> ParamValue:
    if isinstance(distribution, FloatDistribution):
        value = min(max(_number(wanted), distribution.low), distribution.high)
        if distribution.step is not None:
            steps = round((value - distribution.low) / distribution.step)
            return _tidy(distribution.low + steps * distribution.step)
        return value
    return wanted


def _spread(pool: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return ``count`` members of the pool, evenly spread by rank."""
    return tuple(pool[(2 * i + 1) * len(pool) // (2 * count)] for i in range(count))
