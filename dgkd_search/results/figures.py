"""The figures of a run, drawn into its folder."""

from __future__ import annotations

from pathlib import Path

from dgkd_search.data import get_dataset
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.study import REFERENCE, ChainStudy


def draw_figures(run: RunFolder, study: ChainStudy) -> list[Path]:
    """Draw the figures of a run into its folder."""
    # What tables and figures need takes a second to import, which the start of a search saves.
    from dgkd_search.results.pareto import plot_pareto
    from dgkd_search.results.plot import plot_accuracy
    from dgkd_search.results.table import trials_table

    config = study.config
    table, title = trials_table(study), study_title(config)
    drawn = plot_accuracy(
        table,
        run.path,
        title=f"{title}, chains of {config.family}",
        reference=study.attributes.get(REFERENCE, {}).get("val_accuracy"),
        teacher=teacher_accuracy(study),
    )
    if len(config.objectives) > 1:
        drawn += plot_pareto(table, run.path, f"{title}: accuracy and cost")
    return drawn


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
        for stage in study.facts(trial).get("stages", ()):
            if stage["name"] == name and stage["finished"]:
                return float(stage["val_accuracy"])
    return None
