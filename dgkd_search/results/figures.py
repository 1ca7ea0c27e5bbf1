"""Draw the figures of a run into its folder."""

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
from dgkd_search.results.points import BaselinePoint, Replicates
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.trial_row import TrialRow, trial_rows
from dgkd_search.study.baselines import baseline_accuracy, teacher_accuracy
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.records import REFERENCE
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import ChainStudy


def draw_figures(run: RunFolder, study: ChainStudy) -> list[Path]:
    """Draw the figures of a run into its folder; a damaged best.yaml is ignored.

    Returns:
        The paths of the files.
    """
    # These imports take a second, which the start of a search saves.
    from dgkd_search.results.plot import plot_accuracy
    from dgkd_search.results.plot_cost import plot_pareto

    config, shipped = study.config, None
    with contextlib.suppress(InputError):
        shipped = shipped_best(run, study)
    rows, title = trial_rows(study), study_title(config)
    chart = study_chart(study, rows, shipped)
    files = plot_accuracy(chart, run.path, title=f"{title}, {config.family} chains")
    if len(config.objectives) > 1:
        files += plot_pareto(cost_chart(rows, chart), run.path, f"{title}: accuracy and cost")
    return files


def study_chart(
    study: ChainStudy, rows: Sequence[TrialRow], shipped: BestConfig | None
) -> AccuracyChart:
    """Prepare the accuracy chart of a study, for its figure and its page.

    Args:
        rows: the trials.
        shipped: the content of the run's best.yaml, if there is one.
    """
    best: int | BaselinePoint | None = best_trial(study, shipped)
    if best is None:
        best = _best_baseline(study, shipped)
    return accuracy_chart(
        rows,
        best=best,
        reference=baseline_accuracy(study),
        teacher=teacher_accuracy(study),
    )


def best_trial(study: ChainStudy, shipped: BestConfig | None = None) -> int | None:
    """Return the number of the best trial; None also if labels alone are best.

    The best trial is the one whose student is shipped, else the winner with fresh seeds, else the
    most accurate one.

    Args:
        shipped: the content of the run's best.yaml; it may be older than the last trials.
    """
    if shipped is not None and is_of_study(shipped, study):
        return shipped.trial
    replication = Replication.from_study(study)
    winner = replication.winner if replication is not None else None
    if winner is not None:
        return winner.trial
    best = study.best()
    return None if best is None else best.number


def _best_baseline(study: ChainStudy, shipped: BestConfig | None) -> BaselinePoint | None:
    """Return the student trained on labels alone; None unless it is shipped or the winner."""
    replication, accuracy = Replication.from_study(study), baseline_accuracy(study)
    stats = replication.baseline if replication is not None else None
    is_winner = replication is not None and stats is not None and replication.winner is stats
    is_shipped = shipped is not None and shipped.trial is None and is_of_study(shipped, study)
    if accuracy is None or not (is_shipped or is_winner):
        return None
    replicates = None
    if stats is not None and stats.values:
        replicates = Replicates(len(stats.values), stats.mean, stats.half_width)
    return BaselinePoint(study.config.space.student, accuracy, replicates)


def shipped_best(run: RunFolder, study: ChainStudy) -> BestConfig | None:
    """Return the content of best.yaml; None if it is missing or its trial is not in the study.

    Raises:
        InputError: it is damaged.
    """
    from dgkd_search.results.best import load_best  # imports torch, which is slow

    best = load_best(run.path) if run.best.exists() else None
    numbers = {None, *(trial.number for trial in study.trials)}
    return best if best is not None and best.trial in numbers else None


def is_of_study(best: BestConfig, study: ChainStudy) -> bool:
    """Whether best.yaml ships the student of its trial in this study, or that of labels alone."""
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
    """Return the title of a study: its student and its dataset."""
    data, name = config.data, config.data.dataset
    if data.data_dir and get_dataset(name).title:
        name = Path(data.data_dir).name.removesuffix(".npz")
    return f"{config.space.student} on {name}"
