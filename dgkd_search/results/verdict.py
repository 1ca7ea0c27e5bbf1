"""What repeats with fresh seeds say about a winner, in words."""

from __future__ import annotations

from collections.abc import Sequence

from dgkd_search.study.config import StudyConfig
from dgkd_search.study.replication import ReplicateStats, Replication
from dgkd_search.study.space import Configuration
from dgkd_search.training.recipe import Distillation
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.intervals import plus_minus


def verdict(replication: Replication) -> list[tuple[str, str]]:
    """Rows of a summary: what was measured, the gains, and what can be said of them.

    Nothing where no winner is known.
    """
    winner = replication.winner
    if winner is None:
        return []
    candidates = (("the student alone", replication.baseline), ("plain KD", replication.kd))
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
    seeds = pluralize(len(winner.values), "fresh seed")
    rows = [("repeated", "; ".join([f"{mean} %, mean of {seeds}", *others, *failed]))]
    against = [(name, other) for name, other in baselines if other is not winner]
    if against:
        gains = ", ".join(
            f"{plus_minus(*winner.gain_over(other), '+')} over {name}" for name, other in against
        )
        rows.append(("gain", f"{gains} (95 % intervals)"))
    rows.append(
        ("so", "; ".join(_words(winner, baselines)) or "there was nothing to compare it with")
    )
    return rows


def _words(winner: ReplicateStats, baselines: list[tuple[str, ReplicateStats]]) -> list[str]:
    if winner.trial is None:
        return ["no chain is better than the student alone, which is shipped"]
    better: list[str] = []
    unclear: list[str] = []
    worse: list[str] = []
    words: list[str] = []
    for name, other in baselines:
        if other is winner:
            words.append(f"the best chain is {name} itself")
            continue
        gain, half = winner.gain_over(other)
        significant = half is not None and abs(gain) > half
        (unclear if not significant else better if gain > 0 else worse).append(name)
    if better:
        words.append(f"better than {_joined(better)}")
    if worse:
        words.append(f"worse than {_joined(worse)}: distillation gained nothing")
    if unclear:
        words.append(
            f"can't be told from {_joined(unclear)}: seeds alone make such differences; more "
            "seeds (--resume with --confirm), or other chains, would have to show one"
        )
    return words


def _joined(names: list[str]) -> str:
    return " and ".join(names)


def tuned_values(configuration: Configuration, names: Sequence[str]) -> tuple[str, ...]:
    """The values of a configuration, for example ``temperature 5.5``.

    Args:
        names: of ``study.config.TUNABLE``: those that were searched over.
    """
    return _values(configuration.distillation, configuration.lr, names)


def tuned_note(config: StudyConfig, configuration: Configuration) -> str | None:
    """What a gain doesn't say where more than the chain was searched over."""
    fixed = _values(config.distillation, config.student_recipe.lr, config.space.tune)
    if tuned_values(configuration, config.space.tune) == fixed:
        return None
    others = "plain KD, the first trial,"
    others += " and the student alone" if config.reference else ""
    return (
        f"gains are of the chain and of its tuned values together: {others} had those of the "
        f"recipe ({', '.join(fixed)})"
    )


def _values(distillation: Distillation, lr: float, names: Sequence[str]) -> tuple[str, ...]:
    known = {
        "temperature": distillation.temperature,
        "kd-weight": distillation.kd_weight,
        "lr": lr,
    }
    return tuple(f"{name} {known[name]:.3g}" for name in names)
