"""The conclusion of a search, in words: how its winner compares with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence

from dgkd_search.study.config import StudyConfig
from dgkd_search.study.replication import ReplicateStats, Replication
from dgkd_search.study.space import Configuration
from dgkd_search.training.recipe import Distillation
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.intervals import plus_minus

_BASELINE = "labels alone"


def verdict(replication: Replication) -> list[tuple[str, str]]:
    """Return rows of a summary: the means with fresh seeds, the gains, and the conclusion.

    The list is empty while there is no winner.
    """
    winner = replication.winner
    if winner is None:
        return []
    candidates = ((_BASELINE, replication.baseline), ("plain KD", replication.kd))
    names = {stats.trial: name for name, stats in reversed(candidates) if stats is not None}
    baselines = [(name, other) for name, other in candidates if other is not None and other.values]
    others = [
        f"{names.get(stats.trial, f'trial {stats.trial}')} "
        f"{plus_minus(stats.mean, stats.half_width)}"
        for stats in replication.stats
        if stats is not winner and stats.values
    ]
    failed = [
        f"{names.get(stats.trial, f'trial {stats.trial}')} failed with "
        f"{pluralize(len(stats.failed), 'seed')} ({next(iter(stats.failed.values()))})"
        for stats in replication.stats
        if stats.failed
    ]
    mean = plus_minus(winner.mean, winner.half_width)
    seeds = pluralize(len(winner.values), "seed")
    rows = [("fresh seeds", "; ".join([f"{mean} %, mean of {seeds}", *others, *failed]))]
    against = [(name, other) for name, other in baselines if other is not winner]
    if against:
        gains = ", ".join(
            f"{plus_minus(*winner.gain_over(other), '+')} over {name}" for name, other in against
        )
        rows.append(("gain", f"{gains} (95 % intervals)"))
    conclusions = _conclusions(winner, baselines) or ["no baseline was trained"]
    rows.append(("conclusion", "; ".join(conclusions)))
    return rows


def _conclusions(winner: ReplicateStats, baselines: list[tuple[str, ReplicateStats]]) -> list[str]:
    if winner.trial is None:
        return [f"no chain is better than {_BASELINE}, so that student is shipped"]
    better: list[str] = []
    unclear: list[str] = []
    worse: list[str] = []
    conclusions: list[str] = []
    for name, other in baselines:
        if other is winner:
            conclusions.append(f"the best chain is {name}")
            continue
        gain, half = winner.gain_over(other)
        significant = half is not None and abs(gain) > half
        (unclear if not significant else better if gain > 0 else worse).append(name)
    if better:
        conclusions.append(f"better than {' and '.join(better)}")
    if worse:
        lost = ": distillation gained nothing" if _BASELINE in worse else ""
        conclusions.append(f"worse than {' and '.join(worse)}{lost}")
    if unclear:
        conclusions.append(
            f"no significant difference from {' and '.join(unclear)}: use more seeds (--resume "
            "with --confirm) or other chains"
        )
    return conclusions


def tuned_values(configuration: Configuration, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tuned values of a configuration, for example ``temperature 5.5``.

    Args:
        names: the tuned ones of ``study.config.TUNABLE``.
    """
    return _values(configuration.distillation, configuration.lr, names)


def tuned_note(config: StudyConfig, configuration: Configuration) -> str | None:
    """Return a note if the tuned values of a configuration differ from the baselines' values."""
    fixed = _values(config.distillation, config.student_recipe.lr, config.space.tune)
    if tuned_values(configuration, config.space.tune) == fixed:
        return None
    baselines = "plain KD and labels alone" if config.reference else "plain KD"
    return (
        f"the gains include the effect of the tuned values: {baselines} used those of the recipe "
        f"({', '.join(fixed)})"
    )


def _values(distillation: Distillation, lr: float, names: Sequence[str]) -> tuple[str, ...]:
    known = {
        "temperature": distillation.temperature,
        "kd-weight": distillation.kd_weight,
        "lr": lr,
    }
    return tuple(f"{name} {known[name]:.3g}" for name in names)
