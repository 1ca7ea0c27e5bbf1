"""A winner that is one: the best configurations, taught again with fresh seeds.

The trials of a search are one run each, and chains often differ by less than seeds do: the best of
many single runs is partly the luckiest. So the best few, plain KD and the student alone are taught
again with fresh seeds of the student, on the assistants that are trained already; what the search
itself measured of them doesn't count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.trial import TrialState

from dgkd_search.study.config import StudyConfig
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Configuration
from dgkd_search.study.study import RETRYABLE, ChainStudy
from dgkd_search.utils.intervals import difference, half_width

REPLICATION = "confirmation"  # attribute of the study: what was chosen
_FAILED = "failed"  # of a repeat: why
_KD, _ALONE = "kd", "alone"  # what plain KD and the student without any teacher are called there
_STANDS_FOR = "stands for"  # which of the chosen those are


@dataclass(frozen=True)
class ReplicateStats:
    """One configuration under fresh seeds of its student.

    Attributes:
        trial: number of the trial that it comes from; None for the student alone.
        values: validation accuracy in percent by replicate, from 1 (0 is the search's own).
        failed: why the others failed, by replicate.
    """

    trial: int | None
    values: Mapping[int, float]
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def accuracies(self) -> list[float]:
        return [self.values[replicate] for replicate in sorted(self.values)]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def half_width(self) -> float | None:
        """Of the mean's 95 % interval (Student's t); None for a single value."""
        return half_width(self.accuracies)

    @property
    def median(self) -> int:
        """The replicate in the middle; of two the lower one, of equals the earlier."""
        ranked = sorted(self.values, key=lambda replicate: (self.values[replicate], replicate))
        return ranked[(len(ranked) - 1) // 2]

    def gain_over(self, other: ReplicateStats) -> tuple[float, float | None]:
        """The gain over another in points, and half of its 95 % interval (Welch)."""
        return difference(self.accuracies, other.accuracies)


@dataclass(frozen=True)
class Replication:
    """What was taught again, as far as it is known.

    Attributes:
        stats: of the configurations, the best of the search first; those that nothing is known
            of are left out.
        kd, baseline: those among them that are plain KD and the student alone; None where nothing
            is known of it.
        trials: how many of the configurations are trials.
        complete: whether every configuration has been taught with every seed.
    """

    stats: tuple[ReplicateStats, ...]
    kd: ReplicateStats | None
    baseline: ReplicateStats | None
    trials: int
    complete: bool

    @classmethod
    def from_study(cls, study: ChainStudy) -> Replication | None:
        """What a study says; None where nothing was taught again."""
        noted = study.attributes
        chosen = noted.get(REPLICATION)
        if chosen is None or not study.config.confirm_seeds:
            return None
        if chosen["finished"] != study.finished:
            return None  # chosen before the budget was raised: newer trials may be better
        known: dict[str, ReplicateStats] = {}
        replicates = range(1, study.config.confirm_seeds + 1)
        for name in chosen["chosen"]:
            entries = {r: noted.get(_attribute(_trial(name), r)) for r in replicates}
            values = {
                r: float(f["val_accuracy"]) for r, f in entries.items() if f and _FAILED not in f
            }
            failed = {r: str(f[_FAILED]) for r, f in entries.items() if f and _FAILED in f}
            if values or failed:
                known[name] = ReplicateStats(_trial(name), values, failed)
        count = sum(len(stats.values) for stats in known.values())
        complete = count == len(chosen["chosen"]) * len(replicates)
        trials = sum(name != _ALONE for name in chosen["chosen"])
        kd, baseline = (known.get(chosen[_STANDS_FOR].get(name, "")) for name in (_KD, _ALONE))
        return cls(tuple(known.values()), kd, baseline, trials, complete)

    @property
    def winner(self) -> ReplicateStats | None:
        """The trial with the highest mean, of equals the one chosen first; none of which a seed
        failed. None before each has been taught once: whoever came first would win."""
        trials = [stats for stats in self.stats if stats.trial is not None]
        if len(trials) < self.trials:
            return None
        sound = [stats for stats in trials if stats.values and not stats.failed]
        return max(sound, key=lambda stats: stats.mean, default=None)

    def describe(self, study: ChainStudy) -> dict[str, Any] | None:
        """What is known, in plain JSON types, for best.yaml; None where nothing is."""
        if not self.stats:
            return None
        winner, rows = self.winner, []
        for stats in self.stats:
            if not stats.values:
                continue
            row: dict[str, Any] = {"trial": stats.trial, "student_alone": stats.trial is None}
            if stats.trial is not None:
                configuration = study.configuration(study.trials[stats.trial])
                chain = configuration.chain.canonical()
                row |= {"chain": str(chain), "guidance": chain.guidance}
                row["drop_probability"] = configuration.drop_prob
            row |= {"mean": stats.mean, "half_width": stats.half_width}
            row["accuracies"] = stats.accuracies
            if stats.failed:
                row["failed"] = sorted(stats.failed.values())
            if winner is not None and stats is not winner:
                gain, half = winner.gain_over(stats)
                row["behind_by"] = {"mean": gain, "half_width": half}
            rows.append(row)
        return {
            "what": "validation accuracy in percent of students with fresh seeds; half widths of "
            "95 % intervals (Student's t, for differences Welch's)",
            "whole": self.complete,
            "configurations": rows,
        }

    def get(self, trial: int | None) -> ReplicateStats | None:
        """The repeats of a trial, or of the student alone."""
        return next((stats for stats in self.stats if stats.trial == trial), None)


@dataclass(frozen=True)
class Replicate:
    """A student to be taught again."""

    trial: int | None
    replicate: int
    configuration: Configuration


def baseline_replicates(study: ChainStudy, planner: Planner) -> list[Replicate]:
    """What will be taught again however the trials end, so that nobody need wait for that."""
    certain = _stand_ins(study, planner)
    sampled_trials = {study.configuration(trial).identity for trial in study.sampled_trials}
    if _KD not in certain:
        return []  # it may be that nothing completes
    if _ALONE in certain and certain[_ALONE][1].identity in sampled_trials:
        del certain[_ALONE]
    return _unknown(study, certain.values())


def max_replicates(config: StudyConfig) -> int:
    """Students that ``choose_replicates`` may choose, with all their seeds."""
    return (config.confirm_top + 1 + config.reference) * config.confirm_seeds


def choose_replicates(study: ChainStudy, planner: Planner) -> list[Replicate]:
    """Choose what is to be taught again and note it; returns what is still to be done.

    That are the best trials, plain KD if it completed, and the student alone unless the search
    goes without; what comes to the same student stands once.
    """
    chosen: dict[str, tuple[int | None, Configuration]] = {}  # by the student's key

    def add(trial: int | None, configuration: Configuration) -> str:
        key = planner.stages(configuration)[-1].key
        return _name(chosen.setdefault(key, (trial, configuration))[0])

    for best in study.ranked()[: study.config.confirm_top]:
        add(best.number, study.configuration(best))
    if not chosen:
        return []
    stands_for = {name: add(*entries) for name, entries in _stand_ins(study, planner).items()}
    value = {
        "chosen": [_name(trial) for trial, _ in chosen.values()],
        _STANDS_FOR: stands_for,
        "finished": study.finished,
    }
    if study.attributes.get(REPLICATION) != value:
        study.set_attribute(REPLICATION, value)
    return _unknown(study, chosen.values())


def _stand_ins(study: ChainStudy, planner: Planner) -> dict[str, tuple[int | None, Configuration]]:
    """What any winner is compared with: plain KD, if it completed, and the student alone."""
    entries: dict[str, tuple[int | None, Configuration]] = {}
    kd = study.baseline_trial("kd")
    if kd is not None and kd.state == TrialState.COMPLETE:
        entries[_KD] = kd.number, study.configuration(kd)
    if study.config.reference:
        entries[_ALONE] = None, planner.baseline()
    return entries


def _unknown(
    study: ChainStudy, chosen: Iterable[tuple[int | None, Configuration]]
) -> list[Replicate]:
    """Seed after seed, so that an end before the last one leaves all with about as many."""
    known, configurations = study.attributes, [*chosen]
    return [
        Replicate(trial, replicate, configuration)
        for replicate in range(1, study.config.confirm_seeds + 1)
        for trial, configuration in configurations
        if known.get(_attribute(trial, replicate), {RETRYABLE: True}).get(RETRYABLE, False)
    ]


def save_replicate(
    study: ChainStudy, trial: int | None, replicate: int, value: float, facts: Mapping[str, Any]
) -> None:
    """Note a student that was taught again: its validation accuracy in percent, what it took."""
    study.set_attribute(_attribute(trial, replicate), {"val_accuracy": value, **facts})


def save_failure(
    study: ChainStudy,
    trial: int | None,
    replicate: int,
    reason: str,
    again: bool,
    facts: Mapping[str, Any],
) -> None:
    """Note a student whose training failed, and whether a resumed search tries it again."""
    value = {_FAILED: reason, RETRYABLE: again, **facts}
    study.set_attribute(_attribute(trial, replicate), value)


def replicate_facts(study: ChainStudy) -> list[dict[str, Any]]:
    """What every repeat did, whether it still counts or not."""
    return [facts for name, facts in study.attributes.items() if name.startswith("repeat ")]


def _attribute(trial: int | None, replicate: int) -> str:
    return f"repeat {_name(trial)} {replicate}"


def _name(trial: int | None) -> str:
    return _ALONE if trial is None else str(trial)


def _trial(name: str) -> int | None:
    return None if name == _ALONE else int(name)
