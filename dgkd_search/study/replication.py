"""A winner that is one: the best configurations, taught again with fresh seeds.

The trials of a search are one run each, and chains often differ by less than seeds do: the best of
many single runs is partly the luckiest. So the best few, plain KD and the student alone are taught
again with fresh seeds of the student, on the assistants that are trained already; what the search
itself measured of them doesn't count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from optuna.trial import TrialState

from dgkd_search.study.config import StudyConfig
from dgkd_search.study.planner import Planner
from dgkd_search.study.records import (
    ALONE,
    REPLICATION,
    Attribute,
    ReplicationChoice,
    StudentRecord,
)
from dgkd_search.study.replication_report import MeanInterval, ReplicationReport, ReplicationRow
from dgkd_search.study.space import Configuration
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.intervals import difference, half_width

_KD = "kd"  # what plain KD is called among the chosen
_REPEAT = "repeat "  # begins the attributes of students that were taught again


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
        baseline_competes: whether the student alone may be the winner.
    """

    stats: tuple[ReplicateStats, ...]
    kd: ReplicateStats | None
    baseline: ReplicateStats | None
    trials: int
    complete: bool
    baseline_competes: bool = True

    @classmethod
    def from_study(cls, study: ChainStudy) -> Replication | None:
        """What a study says; None where nothing was taught again."""
        choice = study.read(REPLICATION)
        if choice is None or not study.config.confirm_seeds:
            return None
        if choice.finished != study.finished:
            return None  # chosen before the budget was raised: newer trials may be better
        noted = study.read_all(_REPEAT, StudentRecord)
        known: dict[str, ReplicateStats] = {}
        seeds = range(1, study.config.confirm_seeds + 1)
        for name in choice.chosen:
            names = {seed: _attribute(_trial(name), seed).name for seed in seeds}
            entries = {seed: noted[each] for seed, each in names.items() if each in noted}
            values = {
                seed: each.val_accuracy
                for seed, each in entries.items()
                if each.val_accuracy is not None
            }
            failed = {
                seed: each.failure for seed, each in entries.items() if each.failure is not None
            }
            if entries:
                known[name] = ReplicateStats(_trial(name), values, failed)
        count = sum(len(stats.values) for stats in known.values())
        complete = count == len(choice.chosen) * len(seeds)
        trials = sum(name != ALONE for name in choice.chosen)
        kd, baseline = (known.get(choice.stands_for.get(name, "")) for name in (_KD, ALONE))
        return cls(tuple(known.values()), kd, baseline, trials, complete, choice.baseline_competes)

    @property
    def winner(self) -> ReplicateStats | None:
        """The configuration with the highest mean, of equals the one chosen first; none of which a
        seed failed. None before each trial has been taught once: whoever came first would win.

        The student alone is a configuration like all others: where no chain helps it, it is best.
        """
        trials = [stats for stats in self.stats if stats.trial is not None]
        if len(trials) < self.trials:
            return None
        candidates = self.stats if self.baseline_competes else trials
        sound = [stats for stats in candidates if stats.values and not stats.failed]
        return max(sound, key=lambda stats: stats.mean, default=None)

    def report(self, study: ChainStudy) -> ReplicationReport | None:
        """What is known, for best.yaml; None where nothing is."""
        if not self.stats:
            return None
        rows = tuple(self._row(stats, study) for stats in self.stats if stats.values)
        return ReplicationReport(rows, self.complete)

    def _row(self, stats: ReplicateStats, study: ChainStudy) -> ReplicationRow:
        chain = drop = behind = None
        if stats.trial is not None:
            configuration = study.configuration(study.trials[stats.trial])
            chain, drop = configuration.chain.canonical(), configuration.drop_prob
        winner = self.winner
        if winner is not None and stats is not winner:
            behind = MeanInterval(*winner.gain_over(stats))
        return ReplicationRow(
            stats.trial,
            str(chain) if chain is not None else None,
            chain.guidance if chain is not None else None,
            drop,
            MeanInterval(stats.mean, stats.half_width),
            tuple(stats.accuracies),
            tuple(sorted(stats.failed.values())),
            behind,
        )

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
    if ALONE in certain and certain[ALONE][1].identity in sampled_trials:
        del certain[ALONE]
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
    names = tuple(_name(trial) for trial, _ in chosen.values())
    earlier = study.read(REPLICATION)
    competes = earlier is None or earlier.baseline_competes
    study.write(REPLICATION, ReplicationChoice(names, stands_for, study.finished, competes))
    return _unknown(study, chosen.values())


def _stand_ins(study: ChainStudy, planner: Planner) -> dict[str, tuple[int | None, Configuration]]:
    """What any winner is compared with: plain KD, if it completed, and the student alone."""
    entries: dict[str, tuple[int | None, Configuration]] = {}
    kd = study.baseline_trial("kd")
    if kd is not None and kd.state == TrialState.COMPLETE:
        entries[_KD] = kd.number, study.configuration(kd)
    if study.config.reference:
        entries[ALONE] = None, planner.baseline()
    return entries


def _unknown(
    study: ChainStudy, chosen: Iterable[tuple[int | None, Configuration]]
) -> list[Replicate]:
    """Seed after seed, so that an end before the last one leaves all with about as many."""
    noted, configurations = study.read_all(_REPEAT, StudentRecord), [*chosen]
    return [
        Replicate(trial, replicate, configuration)
        for replicate in range(1, study.config.confirm_seeds + 1)
        for trial, configuration in configurations
        if (known := noted.get(_attribute(trial, replicate).name)) is None or known.retryable
    ]


def save_replicate(
    study: ChainStudy, trial: int | None, replicate: int, record: StudentRecord
) -> None:
    """Note a student that was taught again, or why that failed."""
    study.write(_attribute(trial, replicate), record)


def replicates(study: ChainStudy) -> list[StudentRecord]:
    """Every student that was taught again, whether it still counts or not."""
    return [*study.read_all(_REPEAT, StudentRecord).values()]


def _attribute(trial: int | None, replicate: int) -> Attribute[StudentRecord]:
    return Attribute(f"{_REPEAT}{_name(trial)} {replicate}", StudentRecord)


def _name(trial: int | None) -> str:
    return ALONE if trial is None else str(trial)


def _trial(name: str) -> int | None:
    return None if name == ALONE else int(name)
