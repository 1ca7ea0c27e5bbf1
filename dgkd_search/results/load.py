"""Load a run for analysis with pandas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dgkd_search.errors.shown import shown
from dgkd_search.results.best import load_best
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import notebook_html
from dgkd_search.results.table import trials_table
from dgkd_search.study.study import ChainStudy


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """The content of a run folder; its search may still be running.

    Attributes:
        path: of the run folder.
        trials: one row per trial, with the columns of trials.csv as nullable types at full
            precision; ``results.trial_row.TrialRow`` describes each column.
        curves: one row per reported epoch of a student: ``trial``, ``epoch`` (from 1) and
            ``val_accuracy`` (percent). Empty for a search with two objectives.
        best: the content of best.yaml; None before the search has ended.
    """

    path: Path
    trials: pd.DataFrame
    curves: pd.DataFrame
    best: BestConfig | None

    def __repr__(self) -> str:
        return f"LoadedRun({shown(str(self.path))}: {self._state_counts()})"

    def _repr_html_(self) -> str:
        return notebook_html(f"{self.path}: {self._state_counts()}", RunFolder(self.path).figure)

    def _state_counts(self) -> str:
        done = self.trials["state"].value_counts().sort_index()
        counts = ", ".join(f"{count} {state}" for state, count in done.items())
        return counts or "no trials"


def load_run(path: Path | str) -> LoadedRun:
    """Load a run folder; its search may still be running.

    Args:
        path: of the run folder.

    Raises:
        InputError: the folder is not a run, or it is damaged.
    """
    run = RunFolder(Path(path).expanduser())
    study = open_readonly(run)
    best = load_best(run.path) if run.best.exists() else None
    return LoadedRun(run.path, trials_table(study), curves_of(study), best)


def curves_of(study: ChainStudy) -> pd.DataFrame:
    """Return the students' validation accuracies by epoch; columns as in ``LoadedRun``."""
    rows = [
        (trial.number, step, value)
        for trial in study.trials
        for step, value in sorted(trial.intermediate_values.items())
    ]
    types = {"trial": "int64", "epoch": "int64", "val_accuracy": "float64"}
    return pd.DataFrame(rows, columns=[*types]).astype(types)
