"""The summary that a search prints at its end."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict, dataclass
from pathlib import Path

from dgkd_search.errors.shown import shown_lines
from dgkd_search.results.best_config import Accuracies
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.verdict import verdict
from dgkd_search.results.wording import (
    chain_in_words,
    gains,
    read_result,
    teacher_outputs,
    trial_counts,
)
from dgkd_search.results.work import Work
from dgkd_search.study.replication import Replication
from dgkd_search.study.space import Configuration
from dgkd_search.utils.tables import labeled

_JSON_NAMES = {"baseline": "alone"}  # keys of the JSON output stay compatible
_LABEL = 11  # characters of a line's label


@dataclass(frozen=True)
class Summary:
    """The result of a search.

    Attributes:
        run: the run folder.
        trial: number of the best trial; None if the student trained on labels alone is best.
        configuration: the configuration of the best trial.
        seconds: wall time.
        validation_count: number of images in the validation set.
        test_reads: how often the test set was read: once for each student that was the best.
        test_problem: why the test set could not be read, or None.
        replication: results with fresh seeds; None if there are none.
        unreplicated: whether replication was requested but too few replicates were trained to
            choose a winner.
        notes: remarks that the summary shows, one line each.
        tuned: tuned values beside the chain, and a note on how they affect the gains.
        front: one line for each chain on the Pareto front, if there are two objectives.
        ended: why the search ended before its budget, or None.
        aborted: whether it ended early because trials kept failing.
    """

    run: Path
    trial: int | None
    configuration: Configuration
    accuracies: Accuracies
    work: Work
    budget: int
    seconds: float
    validation_count: int
    test_reads: int = 1
    test_problem: str | None = None
    replication: Replication | None = None
    unreplicated: bool = False
    notes: tuple[str, ...] = ()
    tuned: tuple[tuple[str, ...], str | None] = ((), None)
    front: tuple[str, ...] = ()
    ended: str | None = None
    aborted: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the validation accuracy, in percent.

        It reflects the number of validation images, not the variation between seeds.
        """
        from scipy.stats import binomtest  # slow to import, and needed at the end only

        right = round(self.accuracies.validation / 100 * self.validation_count)
        interval = binomtest(right, self.validation_count).proportion_ci(method="wilson")
        return 100 * float(interval.low), 100 * float(interval.high)

    @property
    def confirmation(self) -> Replication | None:
        """An earlier name of ``replication``."""
        return self.replication

    @property
    def unconfirmed(self) -> bool:
        """An earlier name of ``unreplicated``."""
        return self.unreplicated

    @property
    def gave_up(self) -> bool:
        """An earlier name of ``aborted``."""
        return self.aborted

    def to_dict(self) -> dict[str, object]:
        """Return the summary as plain JSON types; accuracies are in percent."""
        chain, replication = self.configuration.chain.canonical(), self.replication
        winner = replication.winner if replication is not None else None
        facts: dict[str, object] = {
            "run": str(self.run),
            "trial": self.trial,
            "chain": list(chain.models),
            "guidance": chain.guidance,
            "drop_probability": self.configuration.drop_prob,
            "temperature": self.configuration.distillation.used_temperature,
            "kd_weight": self.configuration.distillation.kd_weight,
            "loss": self.configuration.distillation.loss.name,
            "lr": self.configuration.lr,
            "accuracies": {_JSON_NAMES.get(k, k): v for k, v in asdict(self.accuracies).items()},
            "test_reads": self.test_reads,
            "test_problem": self.test_problem,
            "budget": self.budget,
            "seconds": self.seconds,
            "work": asdict(self.work),
            "ended": self.ended,
            "gave_up": self.aborted,
            "repeats": None,
        }
        if winner is not None and replication is not None:
            others = (("plain_kd", replication.kd), ("student_alone", replication.baseline))
            facts["repeats"] = {
                "mean": winner.mean,
                "half_width": winner.half_width,
                "accuracies": winner.accuracies,
            } | {
                f"over_{name}": dict(
                    zip(("mean", "half_width"), winner.gain_over(other), strict=True)
                )
                for name, other in others
                if other is not None and other is not winner and other.values
            }
        return facts

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return notebook_html(str(self), RunFolder(self.run).figure)

    def line(self) -> str:
        """Return one line: the best chain, its accuracies and the run folder."""
        acc = self.accuracies
        test = "" if acc.test is None else f", test {acc.test:.2f} %"
        early = f"; ended early: {self.ended}" if self.ended else ""
        return (
            f"{self._chain()}  validation {acc.validation:.2f} %{test}; files in {self.run}{early}"
        )

    def _chain(self) -> str:
        configuration = self.configuration
        return chain_in_words(
            configuration.chain.canonical(),
            drop_prob=configuration.drop_prob,
            loss=configuration.distillation.loss.name,
            tuned=self.tuned[0],
            trial=self.trial,
        )

    def lines(self) -> list[str]:
        """Return the lines of the summary, each with its label."""
        verdict_rows = verdict(self.replication) if self.replication is not None else []
        work = self.work
        rows = [
            *([("ended early", self.ended)] if self.ended else []),
            ("best chain", self._chain()),
            ("validation", self._validation(is_median=bool(verdict_rows))),
            ("test", self._test()),
            *(verdict_rows or [("gain", self._gains())]),
            *(("note", note) for note in self._notes(verified=bool(verdict_rows))),
            *(("front" if i == 0 else "", line) for i, line in enumerate(self.front)),
            ("trials", trial_counts(work, self.budget)),
            ("stages", f"{work.trained} trained, {work.reused} cached"),
            ("teachers", teacher_outputs(work)),
            (
                "time",
                f"{self.seconds:.0f} s; workers ({work.concurrency} at once): computing "
                f"{work.computing:.0f} s, waiting {work.waiting:.0f} s, "
                f"other {work.starting:.0f} s",
            ),
            ("files", str(self.run)),
        ]
        return labeled(rows, _LABEL)

    def _validation(self, *, is_median: bool) -> str:
        low, high = self.interval
        return (
            f"{self.accuracies.validation:.2f} % of {self.validation_count} images "
            f"(95 % interval {low:.1f} to {high:.1f})"
            f"{'; the shipped student, median of its seeds' if is_median else ''}"
        )

    def _test(self) -> str:
        if self.accuracies.test is not None:
            return read_result(self.accuracies.test, self.test_reads)
        return "the test set could not be read" if self.test_problem else "no test set"

    def _gains(self) -> str:
        acc = self.accuracies
        return gains(acc.validation, baseline=acc.baseline, kd=acc.kd, full=acc.full)

    def _notes(self, *, verified: bool) -> list[str]:
        """Return the remarks on the gains.

        Args:
            verified: whether the gains come from fresh seeds.
        """
        acc, notes = self.accuracies, [*self.notes]
        if self.unreplicated:
            notes.append(
                "the best chain was chosen from single runs: too few replicates were trained"
            )
        if self.tuned[1] is not None:
            notes.append(self.tuned[1])
        if not verified and acc.baseline is not None and acc.validation <= acc.baseline:
            notes.append("no chain is better than labels alone: distillation gained nothing")
        return notes


def notebook_html(text: str, figure: Path) -> str:
    """Return HTML that shows preformatted text above a figure.

    Args:
        figure: an SVG file; it is left out if it can't be read.
    """
    safe = "\n".join(shown_lines(text))
    shown = f"<pre>{html.escape(safe)}</pre>"
    try:
        drawn = base64.b64encode(figure.read_bytes()).decode()
    except OSError:
        return shown
    return f'{shown}<img alt="{figure.stem}" src="data:image/svg+xml;base64,{drawn}">'
