"""Studies for tests: small spaces, and made-up accuracies instead of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from optuna.storages._rdb.storage import _VersionManager
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event

from dgkd_search.data import DataInfo
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.baselines import baseline_accuracy
from dgkd_search.study.config import ChainSpace, StudyConfig
from dgkd_search.study.space import Configuration, SearchSpace
from dgkd_search.study.study import ChainStudy, Proposal
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.utils.hashing import derive_seed

POOL = ("resnet44", "resnet32", "resnet20", "resnet14")
LR = 0.1
INFO = DataInfo("digits", ("a", "b"), 1, 8, (0.5,), (0.5,), 10, 10, "f" * 32, "/nowhere")


_read_scripts = _VersionManager._create_alembic_script
_scripts: list[ScriptDirectory] = []


def _scripts_read_once(self: _VersionManager) -> ScriptDirectory:
    """Cache Optuna's migration scripts, 30 modules that it reads whenever a database is opened."""
    if not _scripts:
        _scripts.append(_read_scripts(self))
    return _scripts[0]


_VersionManager._create_alembic_script = _scripts_read_once  # type: ignore[method-assign]


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def make_space(pool: tuple[str, ...] = POOL, **values: Any) -> ChainSpace:
    return ChainSpace("resnet56", "resnet8", pool, **{"max_assistants": len(pool)} | values)


def search_space(pool: tuple[str, ...] = POOL, **values: Any) -> SearchSpace:
    return SearchSpace(make_space(pool, **values), Distillation(0.9, 4.0), LR)


def make_config(space: ChainSpace | None = None, epochs: int = 9, **values: Any) -> StudyConfig:
    recipe = Recipe(epochs, 32, LR, 1e-4, "cosine", "none")
    defaults: dict[str, Any] = {
        "data": DataConfig("digits"),
        "family": "resnet",
        "space": space or make_space(drop_probs=(0.0, 0.25, 0.5)),
        "recipe": recipe,
        "student_recipe": recipe,
        "distillation": Distillation(0.9, 4.0),
        "numerics": Numerics(),
        "budget": 100,
        "pruner": "none",
    }
    return StudyConfig(**defaults | values)


def make_study(
    space: ChainSpace | None = None, path: Path | None = None, epochs: int = 9, **values: Any
) -> ChainStudy:
    return ChainStudy(make_config(space, epochs, **values), path)


def accuracy(configuration: Configuration, epoch: int) -> float:
    """Return a fixed noise of the configuration; good curves rise by epoch, bad ones fall."""
    height = derive_seed(configuration.identity) % 6000 / 100
    return 30 + height + (epoch if height > 30 else -epoch) / 10


def run_trial(study: ChainStudy, proposal: Proposal) -> int:
    """Report the made-up curve until it ends or is pruned; return the number of epochs."""
    epochs = study.config.student_recipe.epochs
    for step in range(1, epochs + 1):
        if study.report(proposal.number, step, accuracy(proposal.configuration, step)):
            study.prune(proposal.number, TrialStats())
            return step
    study.complete(proposal.number, accuracy(proposal.configuration, epochs), TrialStats())
    return epochs


def run_trials(study: ChainStudy, count: int) -> list[tuple[dict[str, Any], int]]:
    """Run up to ``count`` trials in sequence; return parameters and number of epochs of each."""
    done: list[tuple[dict[str, Any], int]] = []
    while len(done) < count and (proposal := study.ask()) is not None:
        epochs = run_trial(study, proposal)
        done.append((study.trials[proposal.number].params, epochs))
    return done


def stats_of(study: ChainStudy, trial: FrozenTrial) -> TrialStats:
    """Return the statistics of a trial, which must exist."""
    stats = study.stats(trial)
    assert stats is not None
    return stats


def outcome(study: ChainStudy) -> dict[str, Any]:
    """Return everything that must not depend on how often the search was stopped."""
    return {
        "trials": [
            [
                trial.number,
                trial.state.name,
                trial.params,
                trial.value,
                {str(step): value for step, value in trial.intermediate_values.items()},
                trial.system_attrs,
            ]
            for trial in study.trials
        ],
        "reference": baseline_accuracy(study),
    }
