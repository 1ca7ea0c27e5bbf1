"""The figures of a run, drawn into its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import TrialState

from dgkd_search.data import get_dataset
from dgkd_search.errors import InputError
from dgkd_search.results.accuracy_data import AccuracyChart, accuracy_chart
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.cost_data import cost_chart
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.trial_row import TrialRow, trial_rows
from dgkd_search.study.baselines import baseline_accuracy, teacher_accuracy
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.records import REFERENCE
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import ChainStudy


def draw_figures(run: RunFolder, study: ChainStudy) -> list[Path]:
    """Draw the figures of a run into its folder; a damaged best.yaml stars nothing."""
    # What draws takes a second to import, which the start of a search saves.
    from dgkd_search.results.plot import plot_accuracy
    from dgkd_search.results.plot_cost import plot_pareto

    config, shipped = study.config, None
    with contextlib.suppress(InputError):
        shipped = shipped_best(run, study)
    rows, title = trial_rows(study), study_title(config)
    chart = study_chart(study, rows, shipped)
    drawn = plot_accuracy(chart, run.path, title=f"{title}, chains of {config.family}")
    if len(config.objectives) > 1:
        drawn += plot_pareto(cost_chart(rows, chart), run.path, f"{title}: accuracy and cost")
    return drawn


def study_chart(
    study: ChainStudy, rows: Sequence[TrialRow], shipped: BestConfig | None
) -> AccuracyChart:
    """Prepare the chart of a study, which its figure and its page show.

    Args:
        rows: its trials.
        shipped: what the run's best.yaml says, if there is one.
    """
    return accuracy_chart(
        rows,
        best=best_trial(study, shipped),
        reference=baseline_accuracy(study),
        teacher=teacher_accuracy(study),
    )


def best_trial(study: ChainStudy, shipped: BestConfig | None = None) -> int | None:
    """Number of the best trial: the one whose student is shipped, else the winner under fresh
    seeds, else the most accurate one; None also where the student alone is best.

    Args:
        shipped: what the run's best.yaml says, which may be older than the study's last trials.
    """
    if shipped is not None and is_of_study(shipped, study):
        return shipped.trial
    replication = Replication.from_study(study)
    winner = replication.winner if replication is not None else None
    if winner is not None:
        return winner.trial
    best = study.best()
    return None if best is None else best.number


def shipped_best(run: RunFolder, study: ChainStudy) -> BestConfig | None:
    """What best.yaml says; None where there is none yet, or it names a trial that isn't there.

    Raises:
        InputError: it is damaged.
    """
    from dgkd_search.results.best import load_best  # it reads weights, and torch is slow to import

    best = load_best(run.best) if run.best.exists() else None
    numbers = {None, *(trial.number for trial in study.trials)}
    return best if best is not None and best.trial in numbers else None


def is_of_study(best: BestConfig, study: ChainStudy) -> bool:
    """Whether best.yaml ships what its trial has trained in this study, or the student alone."""
    if best.trial is None:
        return study.read(REFERENCE) is not None
    trial = next((trial for trial in study.trials if trial.number == best.trial), None)
    if trial is None or trial.state != TrialState.COMPLETE:
        return False
    configuration = study.configuration(trial)
    chain = configuration.chain.canonical()
    trained = chain.teacher, chain.assistants, chain.student, chain.guidance
    shipped = best.teacher, best.assistants, best.student, best.guidance
    return (*trained, configuration.drop_prob) == (*shipped, best.drop_probability)


def study_title(config: StudyConfig) -> str:
    """The student and what it learns, in words."""
    data, name = config.data, config.data.dataset
    if data.data_dir and get_dataset(name).title:
        name = Path(data.data_dir).name.removesuffix(".npz")
    return f"{config.space.student} on {name}"
