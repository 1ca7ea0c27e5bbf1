from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from helpers.registries import isolate

from dgkd_search import register_pruner, register_sampler
from dgkd_search.errors import InputError
from dgkd_search.study.strategies import PRUNERS, SAMPLERS


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


def test_those_of_optuna_are_create() -> None:
    assert SAMPLERS.names() == ("tpe", "random")
    assert PRUNERS.names() == ("median", "hyperband", "sha", "patient", "none")
    for sampler in SAMPLERS.known():
        assert isinstance(sampler.create(3), optuna.samplers.BaseSampler)
    for pruner in PRUNERS.known():
        for epochs in (1, 2, 200):
            assert isinstance(pruner.create(epochs), optuna.pruners.BasePruner)


def test_what_is_experimental_is_made_without_a_word() -> None:
    register_sampler("joint", lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAMPLERS.get("joint").create(1)


def test_one_is_made_with_the_values_of_its_options() -> None:
    calls = []

    def make(value: int, *, most: int, least: int) -> Any:
        calls.append((value, most, least))

    register_sampler("mine", make, ["most", "least"])
    register_pruner("mine", make, ["most", "least"])
    for created in (SAMPLERS.get("mine"), PRUNERS.get("mine")):
        created.create(1, (("least", 2), ("most", 3)))
    assert calls == [(1, 3, 2)] * 2


@pytest.mark.parametrize("register", [register_sampler, register_pruner])
def test_one_that_cannot_be_made_is_named(register: Any) -> None:
    register("odd", lambda value: 1 / 0)
    registry = SAMPLERS if register is register_sampler else PRUNERS
    message = r"r odd: can't be created \(ZeroDivisionError: division by zero\); fix its package"
    with pytest.raises(InputError, match=message):
        registry.get("odd").create(1)
