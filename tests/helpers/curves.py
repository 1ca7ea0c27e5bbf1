"""Trials with given curves."""

from __future__ import annotations

from dgkd_search.distillation.stats import TrialStats
from dgkd_search.study.study import ChainStudy, Proposal


def ask(study: ChainStudy) -> Proposal:
    proposal = study.ask()
    assert proposal is not None
    return proposal


def run(study: ChainStudy, values: list[float]) -> tuple[int, int]:
    """Run a trial with the given curve; return its number and the number of epochs it ran."""
    number = ask(study).number
    for step, value in enumerate(values, start=1):
        if study.report(number, step, value):
            study.prune(number, TrialStats())
            return number, step
    study.complete(number, values[-1], TrialStats())
    return number, len(values)


def rising(level: float) -> list[float]:
    return [level + step for step in range(9)]
