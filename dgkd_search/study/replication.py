"""Replication: train the best configurations again with fresh seeds to verify the winner.

Each trial is a single run, and the difference between chains is often smaller than that between
seeds, so the best of many trials is partly the luckiest. Therefore the best few configurations,
plain KD and labels alone are trained again with fresh seeds of the student; teacher and assistants
are cached. The accuracies of the trials themselves are not used in this comparison.
"""

from __future__ import annotations

import re
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

_KD = "kd"  # name of plain KD in ``ReplicationChoice.stands_for``
_REPEAT = "repeat "  # prefix of the attributes of replicates
_REPEATS = re.compile(rf"{_REPEAT}({ALONE}|[0-9]+) [0-9]+")


@dataclass(frozen=True)
class ReplicateStats:
    """The replicates of one configuration.

    Attributes:
        trial: number of the trial; None for labels alone.
        values: validation accuracy in percent by replicate, from 1 (0 is the trial's own run).
        failed: why other replicates failed, by replicate.
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
        """Half of the mean's 95 % interval (Student's t); None for a single value."""
        return half_width(self.accuracies)

    @property
    def median(self) -> int:
        """The replicate of median accuracy: the lower one of two, the earlier one of equals."""
        ranked = sorted(self.values, key=lambda replicate: (self.values[replicate], replicate))
        return ranked[(len(ranked) - 1) // 2]

    def gain_over(self, other: ReplicateStats) -> tuple[float, float | None]:
        """Return the gain over another configuration in points, and half of its 95 % interval.

        The interval is Welch's; None if either has a single value.
        """
        return difference(self.accuracies, other.accuracies)


@dataclass(frozen=True)
class Replication:
    """The results of the replication so far.

    Attributes:
        stats: one per configuration with a result, in the order of their rank in the search.
        kd, baseline: the stats of plain KD and of labels alone; None without a result.
        trials: how many of the chosen configurations are trials.
        complete: whether every configuration has been trained with every seed.
        baseline_competes: whether labels alone may win.
    """

    stats: tuple[ReplicateStats, ...]
    kd: ReplicateStats | None
    baseline: ReplicateStats | None
    trials: int
    complete: bool
    baseline_competes: bool = True

    @classmethod
    def from_study(cls, study: ChainStudy) -> Replication | None:
        """Read the results of a study; None if there is no replication."""
        choice = study.read(REPLICATION)
        if choice is None or not study.config.confirm_seeds:
            return None
        if choice.finished != study.finished:
            return None  # outdated: the budget was raised, and newer trials may be better
        noted = study.read_all(_REPEATS, StudentRecord)
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
        """The configuration with the highest mean; of equals, the one chosen first.

        A configuration with a failed replicate can't win. Labels alone can. None until every chosen
        trial has a result, so that the order of training has no influence.
        """
        trials = [stats for stats in self.stats if stats.trial is not None]
        if len(trials) < self.trials:
            return None
        candidates = self.stats if self.baseline_competes else trials
        sound = [stats for stats in candidates if stats.values and not stats.failed]
        return max(sound, key=lambda stats: stats.mean, default=None)

    def report(self, study: ChainStudy) -> ReplicationReport | None:
        """Return the report for best.yaml; None if there are no results."""
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
        """Return the stats of a trial, or of labels alone for None."""
        return next((stats for stats in self.stats if stats.trial == trial), None)


@dataclass(frozen=True)
class Replicate:
    """A student to train again with a fresh seed."""

    trial: int | None
    replicate: int
    configuration: Configuration


def baseline_replicates(study: ChainStudy, planner: Planner) -> list[Replicate]:
    """Return the replicates that are needed however the trials end; they can begin early."""
    certain = _stand_ins(study, planner)
    sampled_trials = {study.configuration(trial).identity for trial in study.sampled_trials}
    if _KD not in certain:
        return []  # it is possible that no trial completes
    if ALONE in certain and certain[ALONE][1].identity in sampled_trials:
        del certain[ALONE]
    return _unknown(study, certain.values())


def max_replicates(config: StudyConfig) -> int:
    """Return the largest number of replicates that ``choose_replicates`` may return."""
    return (config.confirm_top + 1 + config.reference) * config.confirm_seeds


def choose_replicates(study: ChainStudy, planner: Planner) -> list[Replicate]:
    """Choose the configurations to train again, record the choice, and return the open replicates.

    Chosen are the best trials, plain KD if it completed, and labels alone unless the study has no
    reference. Configurations with the same student are chosen once.
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
    """Return the baselines: plain KD if it completed, and labels alone unless switched off."""
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
    """Return the replicates without a result.

    They are ordered by seed, so that after an early stop all configurations have about equally
    many.
    """
    noted, configurations = study.read_all(_REPEATS, StudentRecord), [*chosen]
    return [
        Replicate(trial, replicate, configuration)
        for replicate in range(1, study.config.confirm_seeds + 1)
        for trial, configuration in configurations
        if (known := noted.get(_attribute(trial, replicate).name)) is None or known.retryable
    ]


def save_replicate(
    study: ChainStudy, trial: int | None, replicate: int, record: StudentRecord
) -> None:
    """Record the result of a replicate, or why it failed."""
    study.write(_attribute(trial, replicate), record)


def replicates(study: ChainStudy) -> list[StudentRecord]:
    """Return every replicate that was trained, including outdated ones."""
    return [*study.read_all(_REPEATS, StudentRecord).values()]


def _attribute(trial: int | None, replicate: int) -> Attribute[StudentRecord]:
    return Attribute(f"{_REPEAT}{_name(trial)} {replicate}", StudentRecord)


def _name(trial: int | None) -> str:
    return ALONE if trial is None else str(trial)


def _trial(name: str) -> int | None:
    return None if name == ALONE else int(name)
