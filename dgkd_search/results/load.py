"""A run as pandas users want it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dgkd_search.results.best import load_best
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import notebook_html
from dgkd_search.results.table import trials_table
from dgkd_search.study.study import ChainStudy


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """What a run folder tells, whether its search has ended or not.

    Attributes:
        path: of the folder.
        trials: one row a trial, with the columns and nullable types of trials.csv at full
            precision; see ``results.trial_row.TrialRow`` for each column's meaning.
        curves: one row a reported epoch of a student: ``trial``, ``epoch`` (from 1) and
            ``val_accuracy`` (percent). Empty for a search with two objectives.
        best: what best.yaml says; None before the search has ended.
    """

    path: Path
    trials: pd.DataFrame
    curves: pd.DataFrame
    best: BestConfig | None

    def __repr__(self) -> str:
        return f"LoadedRun({self.path}: {self._state_counts()})"

    def _repr_html_(self) -> str:
        return notebook_html(f"{self.path}: {self._state_counts()}", RunFolder(self.path).figure)

    def _state_counts(self) -> str:
        done = self.trials["state"].value_counts().sort_index()
        counts = ", ".join(f"{count} {state}" for state, count in done.items())
        return counts or "no trials"


def load_run(path: Path | str) -> LoadedRun:
    """Read a run folder; a search may be running there.

    Args:
        path: of the folder.

    Raises:
        InputError: it is no run, or damaged.
    """
    run = RunFolder(Path(path).expanduser())
    study = open_readonly(run)
    best = load_best(run.best) if run.best.exists() else None
    return LoadedRun(run.path, trials_table(study), curves_of(study), best)


def curves_of(study: ChainStudy) -> pd.DataFrame:
    """The students' validation accuracy, epoch by epoch; columns as in ``LoadedRun``."""
    rows = [
        (trial.number, step, value)
        for trial in study.trials
        for step, value in sorted(trial.intermediate_values.items())
    ]
    types = {"trial": "int64", "epoch": "int64", "val_accuracy": "float64"}
    return pd.DataFrame(rows, columns=[*types]).astype(types)
