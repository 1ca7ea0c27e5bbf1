"""Made-up results of a search."""

from __future__ import annotations

from pathlib import Path

from dgkd_search.distillation.chain import Chain
from dgkd_search.results.best_config import Accuracies
from dgkd_search.results.summary import Summary
from dgkd_search.results.work import Work
from dgkd_search.study.space import Configuration
from dgkd_search.training.recipe import Distillation

CHAIN = Chain(("resnet56", "resnet20", "resnet8"))
SUMMARY = Summary(
    run=Path("runs/one"),
    trial=7,
    configuration=Configuration(CHAIN, Distillation(drop_prob=0.25), 0.1),
    accuracies=Accuracies(80.0, 78.5, baseline=75.0, kd=77.25, full=80.5, teacher=90.0),
    work=Work(
        completed=9,
        pruned=3,
        failed=1,
        trained=20,
        reused=11,
        taught=1_234_567,
        forwards=45_000,
        computing=150.2,
        waiting=12.0,
        starting=36.4,
        concurrency=2,
    ),
    budget=12,
    seconds=99.6,
    validation_count=1600,
)
