"""Run folders as a search writes them, made without a search from a small chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.distillation.chain import Chain
from dgkd_search.results.best import write_best
from dgkd_search.results.best_config import Accuracies, BestConfig
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.store import Store
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Configuration
from dgkd_search.workflows.single_chain import plan, run_trial

CHAIN = ("resnet20", "resnet14", "resnet8")


def make_run(folder: Path, names: Sequence[str] = CHAIN, **options: Any) -> RunFolder:
    """Make the run folder ``folder/run``, with its stages in ``folder/store``."""
    store = folder / "store"
    said: dict[str, Any] = {
        "dataset": "digits",
        "train_limit": 100,
        "epochs": 1,
        "batch_size": 32,
    } | options
    said |= {"teacher": names[0], "student": names[-1], "store": str(store)}
    stages, data = plan(names, drop_prob=0.25, **said)
    result = run_trial(stages, data, store)
    entry = Store(store).get(stages[-1].key)
    assert entry is not None
    resolved = resolve(parse_options({**said, "drop_prob": 0.25}))
    lr = resolved.config.student_recipe.lr
    settings = stages[-1].distillation
    assert settings is not None
    configuration = Configuration(Chain(tuple(names)), settings, lr)
    assert Planner(resolved.config, data.info).stages(configuration) == stages
    run = RunFolder(folder / "run")
    run.path.mkdir(parents=True)
    best = BestConfig.of(
        3,
        configuration,
        stages,
        data.info,
        Accuracies(result.val_accuracy, 61.5, 50.0, None, 52.0, 70.0),
        options=to_yaml_values(resolved.options),
        test_reads=1,
    )
    write_best(run, best, entry.tensors)
    return run
