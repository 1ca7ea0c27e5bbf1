"""The content of the report page for one run, read from its folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from dgkd_search.distillation.chain import Chain
from dgkd_search.errors import InputError
from dgkd_search.models import parameter_count
from dgkd_search.models.architecture import Architecture
from dgkd_search.results.accuracy_data import AccuracyChart
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.cost_data import cost_chart
from dgkd_search.results.figures import best_trial, shipped_best, study_chart
from dgkd_search.results.load import curves_of
from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.report.chain_diagram import Node, draw_chain
from dgkd_search.results.report.chart_parts import ChartSpec
from dgkd_search.results.report.charts import accuracy_spec, cost_spec
from dgkd_search.results.report.search_charts import curves_spec, drop_spec, history_spec
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.trial_row import TrialRow, trial_rows
from dgkd_search.results.verdict import tuned_note, tuned_values, verdict
from dgkd_search.results.wording import (
    chain_in_words,
    gains,
    read_result,
    teacher_outputs,
    trial_counts,
)
from dgkd_search.results.work import Work, total_work
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.losses.base import KL
from dgkd_search.utils.formatting import format_value
from dgkd_search.utils.versions import versions


@dataclass(frozen=True)
class ReportFigure:
    """A chart with its title and caption."""

    title: str
    caption: str
    spec: ChartSpec


@dataclass(frozen=True)
class RunReport:
    """The content of the report page for one run.

    Attributes:
        name: the name of the run on the page.
        best: the content of best.yaml; None before the search has ended.
    """

    name: str
    run: RunFolder
    study: ChainStudy
    best: BestConfig | None

    @classmethod
    def read(cls, run: RunFolder, study: ChainStudy | None = None) -> RunReport:
        """Read a run folder; its search may still be running.

        Args:
            study: the study of the run, if it is already open.

        Raises:
            InputError: the folder is not a run, or it is damaged.
        """
        study = open_readonly(run) if study is None else study
        best = shipped_best(run, study)
        return cls(run.path.resolve().name, run, study, best)

    @cached_property
    def rows(self) -> tuple[TrialRow, ...]:
        """The trials, by number."""
        return trial_rows(self.study)

    @cached_property
    def accuracy(self) -> AccuracyChart:
        """The prepared chart that the figures of the run are drawn from."""
        return study_chart(self.study, self.rows, self.best)

    @cached_property
    def replication(self) -> Replication | None:
        return Replication.from_study(self.study)

    @cached_property
    def work(self) -> Work:
        return total_work(self.study, ElapsedTime.from_study(self.study), 1)

    @property
    def trial(self) -> int | None:
        """Number of the best trial; None also if labels alone are best."""
        return best_trial(self.study, self.best)

    def figures(self) -> list[ReportFigure]:
        """Return the charts of the run, without those that have no data."""
        chart = self.accuracy
        if not chart.points:
            return []
        caption = " ".join(
            [
                "Each point is a completed trial, each cross a pruned one; the star is the best. "
                "Trials far below the others are marked at the bottom edge. Click a name in the "
                "legend to highlight its trials.",
                *chart.notes,
            ]
        )
        curves = "The thick line is the best trial. Point at a line to identify its trial."
        figures: list[tuple[str, str, ChartSpec | None]] = [
            ("Accuracy and number of assistants", caption, accuracy_spec(chart)),
            ("Search history", "The line is the best accuracy so far.", history_spec(chart)),
            (
                "Learning curves of the students",
                curves,
                curves_spec(chart, curves_of(self.study)),
            ),
            ("Drop probability", "Students with at least two teachers.", drop_spec(chart)),
        ]
        if len(self.study.config.objectives) > 1:
            caption = "The search had both objectives. Better trials are higher and further left."
            costs = cost_spec(cost_chart(self.rows, chart))
            figures.append(("Accuracy and cost", caption, costs))
        return [
            ReportFigure(title, words, spec) for title, words, spec in figures if spec is not None
        ]

    def chain(self) -> Markup | None:
        """Return the drawing of the best chain; None before the search has ended."""
        if self.best is None:
            return None
        specs = self.best.stages
        positions = {spec.key: i for i, spec in enumerate(specs)}
        known: dict[str, float | None] = {}
        stats = None
        if self.best.trial is not None:
            stats = self.study.stats(self.study.trials[self.best.trial])
        if stats is not None:
            known |= {stage.name: stage.val_accuracy for stage in stats.stages}
        known[self.best.student] = self.best.validation_accuracy
        nodes = [
            Node(
                spec.architecture.name,
                _parameters(spec.architecture),
                known.get(spec.architecture.name),
                tuple(positions[key] for key in spec.teachers),
            )
            for spec in specs
        ]
        return draw_chain(nodes, self.best.drop_probability)

    def headline(self) -> list[tuple[str, str]]:
        """Return the result of the search, in rows of a label and a text."""
        if self.best is None:
            return [("status", "the search has not ended; there is no best student yet")]
        best = self.best
        test, note = best.test_accuracy, None
        tuned: tuple[str, ...] = ()
        if best.trial is not None:
            configuration = self.study.configuration(self.study.trials[best.trial])
            tuned = tuned_values(configuration, self.study.config.space.tune)
            note = tuned_note(self.study.config, configuration)
        chain = chain_in_words(
            Chain(best.models, best.guidance),
            drop_prob=best.drop_probability,
            loss=best.loss or KL.name,
            tuned=tuned,
            trial=best.trial,
        )
        rows = [
            ("best chain", chain),
            ("validation", _validation_words(best)),
            ("test", read_result(test, best.test_reads) if test is not None else "not measured"),
        ]
        verdict_rows = verdict(self.replication) if self.replication is not None else []
        return rows + (verdict_rows or self._gains(best)) + ([("note", note)] if note else [])

    def _gains(self, best: BestConfig) -> list[tuple[str, str]]:
        validation, known = best.validation_accuracy, best.comparison
        if validation is None:
            return []
        others = {"baseline": known.student_alone, "kd": known.plain_kd, "full": known.full_chain}
        return [("gain", gains(validation, **others))]

    def costs(self) -> list[tuple[str, str]]:
        """Return the cost of the search and the savings from cached stages and outputs."""
        work = self.work
        stages = work.trained + work.reused
        tflop = sum(row.training_tflop or 0.0 for row in self.rows)
        saved = f"{100 * work.reused / stages:.0f} %" if stages else "0 %"
        rows = [
            ("trials", trial_counts(work, self.study.config.budget)),
            (
                "stages",
                f"{stages} needed: {work.trained} trained, {work.reused} cached ({saved})",
            ),
            ("teachers", teacher_outputs(work)),
            ("computing", f"{work.computing:,.0f} s, summed over workers"),
            ("waiting", f"{work.waiting:,.0f} s for stages of other trials"),
            ("wall time", f"{ElapsedTime.from_study(self.study).seconds:,.0f} s"),
        ]
        if tflop:
            rows.append(("all chains from scratch", f"{tflop:,.4g} TFLOP"))
        return rows

    def commands(self) -> list[tuple[str, str]]:
        """Return commands for the next steps, each with what it does."""
        path, best, config = (
            shlex.quote(str(path)) for path in (self.run.path, self.run.best, self.run.config)
        )
        if self.best is None:
            return [("Resume the search:", f"dgkd-search --resume {path}")]
        module = (self.best.options or {}).get("models")
        own = f" --models {shlex.quote(str(module))}" if module else ""
        return [
            (
                "Train the best chain on training and validation images, three times:",
                f"dgkd-search train {best}{own}",
            ),
            ("Export the student with a model card:", f"dgkd-search export {path} --to DIR{own}"),
            ("Extend the search:", f"dgkd-search --resume {path} --budget N"),
            ("Repeat the search:", f"dgkd-search --config {config}"),
        ]

    def options(self) -> list[tuple[str, str]]:
        values = (self.best.options or {}) if self.best is not None else {}
        return [(name, format_value(value)) for name, value in values.items()]

    def made_with(self) -> list[tuple[str, str]]:
        return [*(self.best.versions if self.best is not None else versions()).items()]


def _validation_words(best: BestConfig) -> str:
    if best.validation_accuracy is None:  # someone put a retrained student in its place
        return "not measured"
    return f"{best.validation_accuracy:.2f} % (the shipped student)"


def _parameters(architecture: Architecture) -> int | None:
    """Return the number of parameters; None for a custom model whose code isn't loaded.

    The module that the search itself names is loaded with its study. A module that best.yaml
    names is never imported: anyone who can write that file could run code here.
    """
    try:
        return parameter_count(architecture)
    except InputError:
        return None
