"""The figures of a run, drawn into its folder."""

from __future__ import annotations

from pathlib import Path

from dgkd_search.data import get_dataset
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.records import REFERENCE, StudentRecord
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import ChainStudy


def draw_figures(run: RunFolder, study: ChainStudy) -> list[Path]:
    """Draw the figures of a run into its folder."""
    # What figures need takes a second to import, which the start of a search saves.
    from dgkd_search.results.accuracy_data import accuracy_chart
    from dgkd_search.results.cost_data import cost_chart
    from dgkd_search.results.plot import plot_accuracy
    from dgkd_search.results.plot_cost import plot_pareto
    from dgkd_search.results.trial_row import trial_rows

    config = study.config
    rows, title = trial_rows(study), study_title(config)
    chart = accuracy_chart(
        rows,
        best=best_trial(study),
        reference=baseline_accuracy(study),
        teacher=teacher_accuracy(study),
    )
    drawn = plot_accuracy(chart, run.path, title=f"{title}, chains of {config.family}")
    if len(config.objectives) > 1:
        drawn += plot_pareto(cost_chart(rows, chart), run.path, f"{title}: accuracy and cost")
    return drawn


def best_trial(study: ChainStudy) -> int | None:
    """Number of the best trial: the winner under fresh seeds, else the most accurate one."""
    replication = Replication.from_study(study)
    winner = replication.winner if replication is not None else None
    if winner is not None:
        return winner.trial
    best = study.best()
    return None if best is None else best.number


def study_title(config: StudyConfig) -> str:
    """The student and what it learns, in words."""
    data, name = config.data, config.data.dataset
    if data.data_dir and get_dataset(name).title:
        name = Path(data.data_dir).name.removesuffix(".npz")
    return f"{config.space.student} on {name}"


def teacher_accuracy(study: ChainStudy) -> float | None:
    """The teacher's validation accuracy in percent, from any trial that used it."""
    name = study.config.space.teacher
    for trial in study.trials:
        stats = study.stats(trial)
        stage = stats.stage(name) if stats is not None else None
        if stage is not None and stage.finished:
            return stage.val_accuracy
    return None


def baseline_accuracy(study: ChainStudy) -> float | None:
    """The validation accuracy in percent of the student on labels alone."""
    reference = study.read(REFERENCE, StudentRecord)
    return reference.val_accuracy if reference is not None else None
