"""What a search found, in a few lines."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict, dataclass
from pathlib import Path

from dgkd_search.results.best_config import Accuracies
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.verdict import verdict
from dgkd_search.results.work import Work
from dgkd_search.study.replication import Replication
from dgkd_search.study.space import Configuration
from dgkd_search.training.losses.base import KL
from dgkd_search.utils.tables import labeled

_JSON_NAMES = {"baseline": "alone"}  # what programs read keeps its names
_LABEL = 11  # letters of what a line is about


@dataclass(frozen=True)
class Summary:
    """The closing words of a search.

    Attributes:
        run: the run folder.
        trial: number of the best trial.
        configuration: what it trained.
        seconds: wall time.
        validation_count: images in the validation part.
        test_reads: how often the test set was read: once a student that came out best.
        test_problem: what is wrong with the test set, or None.
        replication: what was taught again with fresh seeds, or None.
        unreplicated: whether that was wanted, and too little of it was done to choose by.
        tuned: what was searched over beside the chain: its values, and what gains don't say then.
        front: a line for each chain that no other beats in both objectives, where there are two.
        ended: why the search ended before its budget, or None.
        aborted: whether it ended so because trials kept failing.
    """

    run: Path
    trial: int
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
    tuned: tuple[tuple[str, ...], str | None] = ((), None)
    front: tuple[str, ...] = ()
    ended: str | None = None
    aborted: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval (Wilson) of the validation accuracy in percent, from its count alone."""
        from scipy.stats import binomtest  # slow to import, and needed at the end alone

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
        """Plain values; accuracies in percent, gains over what else was taught with fresh seeds."""
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
        """The best chain, its accuracies and where it lies."""
        acc, best = self.accuracies, f"{self.configuration.chain.canonical()}  ({self._details()})"
        test = "" if acc.test is None else f", test {acc.test:.2f} %"
        early = f"; ended early: {self.ended}" if self.ended else ""
        return f"{best}  validation {acc.validation:.2f} %{test}; files in {self.run}{early}"

    def _details(self) -> str:
        chain, drop = self.configuration.chain.canonical(), self.configuration.drop_prob
        details = [chain.guidance] if chain.assistants else []
        details += [f"drop {drop:g}"] if drop is not None else []
        loss, taught = self.configuration.distillation.loss, len(chain.models) > 1
        details += [f"loss {loss.name}"] if taught and loss != KL else []
        return ", ".join([*details, *self.tuned[0], f"trial {self.trial}"])

    def lines(self) -> list[str]:
        chain = self.configuration.chain.canonical()
        acc = self.accuracies
        work = self.work
        if acc.test is not None:
            reads = "once" if self.test_reads == 1 else f"{self.test_reads} times"
            test = f"{acc.test:.2f} %, read {reads}"
        else:
            test = "could not be read" if self.test_problem else "there is no test set"
        low, high = self.interval
        verdict_rows = verdict(self.replication) if self.replication is not None else []
        share = f" ({100 * work.pruned / work.finished:.0f} %)" if work.finished else ""
        rows = [
            ("best chain", f"{chain}  ({self._details()})"),
            (
                "validation",
                f"{acc.validation:.2f} % of {self.validation_count} images "
                f"(95 % interval {low:.1f} to {high:.1f})"
                f"{', the median student, which is shipped' if verdict_rows else ''}",
            ),
            ("test", test),
            *(verdict_rows or [("gain", self._gains())]),
            *(("front" if i == 0 else "", line) for i, line in enumerate(self.front)),
            (
                "trials",
                f"{work.finished} of {self.budget}: {work.completed} completed, "
                f"{work.pruned} pruned{share}, {work.failed} failed",
            ),
            ("stages", f"{work.trained} trained, {work.reused} found in the store"),
            (
                "teachers",
                f"{work.forwards:,} images run through frozen models, which taught "
                f"{work.taught:,} times",
            ),
            (
                "time",
                f"{self.seconds:.0f} s; trials ({work.concurrency} at once) computed "
                f"{work.computing:.0f} s, waited {work.waiting:.0f} s, "
                f"the rest {work.starting:.0f} s",
            ),
            ("files", str(self.run)),
        ]
        if not verdict_rows and acc.baseline is not None and acc.validation <= acc.baseline:
            rows.insert(4, ("note", "no chain beat the student alone: distillation gained nothing"))
        if self.tuned[1] is not None:
            rows.insert(4 + (len(verdict_rows) - 1 if verdict_rows else 0), ("note", self.tuned[1]))
        if self.unreplicated:
            note = "the best of single runs: too little was taught again with fresh seeds"
            rows.insert(4, ("note", note))
        if self.ended:
            rows.insert(0, ("ended early", self.ended))
        return labeled(rows, _LABEL)

    def _gains(self) -> str:
        """On validation, against what this same search trained; one run each."""
        acc = self.accuracies
        parts = [
            f"{acc.validation - other:+.2f} over {name} ({other:.2f})"
            for name, other in (
                ("the student alone", acc.baseline),
                ("plain KD", acc.kd),
                ("the full chain", acc.full),
            )
            if other is not None
        ]
        if not parts:
            return "unknown: nothing to compare with was trained"
        return f"{', '.join(parts)}; one run each, seeds alone may make such differences"


def notebook_html(text: str, figure: Path) -> str:
    """Text as it stands above a figure.

    Args:
        figure: an SVG file; left out where it can't be read.
    """
    shown = f"<pre>{html.escape(text)}</pre>"
    try:
        drawn = base64.b64encode(figure.read_bytes()).decode()
    except OSError:
        return shown
    return f'{shown}<img alt="{figure.stem}" src="data:image/svg+xml;base64,{drawn}">'
