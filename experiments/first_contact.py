"""Ten default searches on scikit-learn's digits: how often their gains exclude zero.

    python experiments/first_contact.py [--seeds 10] [--json FILE] [-- OPTION...]

The searches run in sequence. Each is the default command with another ``--seed``, another
``--train-seed`` and an empty store. (With equal training seeds, all searches would share the
student on labels alone, and all gains would depend on its luck.) Options after ``--`` are added to
every command.

A row is a search: the shipped chain; its gains over labels alone and over plain KD in points of
validation accuracy with fresh seeds, with half of the 95 % interval; the test accuracy; seconds
from the start to the end of the command. A star marks an interval that excludes zero.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from dgkd_search.utils.tables import Column, Table


@dataclass(frozen=True)
class Gain:
    """A gain in points of validation accuracy, and half of its 95 % interval (None without one)."""

    mean: float
    half_width: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.half_width is not None and self.mean > self.half_width

    def __str__(self) -> str:
        half = "" if self.half_width is None else f" ± {self.half_width:.1f}"
        return f"{self.mean:+.1f}{half}{' *' if self.excludes_zero else ''}"


@dataclass(frozen=True)
class SearchResult:
    """The results of one search.

    Attributes:
        over_baseline, over_kd: gain over labels alone and over plain KD; None if that is shipped.
        test: test accuracy in percent.
        seconds: duration of the command.
    """

    seed: int
    chain: str
    drop_prob: float | None
    over_baseline: Gain | None
    over_kd: Gain | None
    test: float
    seconds: float


def run_search(seed: int, options: list[str], folder: Path) -> SearchResult:
    """Run one search in a new process."""
    command = [sys.executable, "-m", "dgkd_search", "--json", "--seed", str(seed)]
    command += ["--train-seed", str(seed), "--out", str(folder / "run")]
    command += ["--store", str(folder / "store"), *options]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"seed {seed}: {done.stderr.strip() or done.stdout[-300:]}")
    seconds = time.monotonic() - began
    summary = json.loads(done.stdout.splitlines()[-1])
    gains = {
        name: Gain(**summary["repeats"][name])
        for name in ("over_student_alone", "over_plain_kd")
        if name in summary["repeats"]
    }
    return SearchResult(
        seed,
        " > ".join(summary["chain"]),
        summary["drop_probability"],
        gains.get("over_student_alone"),
        gains.get("over_plain_kd"),
        summary["accuracies"]["test"],
        seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Default searches with several seeds.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*", help="of dgkd-search, after --")
    arguments = parser.parse_args()
    results = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_search(seed, arguments.options, Path(folder)))
        print(results[-1], file=sys.stderr, flush=True)
    print("\n".join(table(results).lines()))
    for name, gains in (
        ("labels alone", [result.over_baseline for result in results]),
        ("plain KD", [result.over_kd for result in results]),
    ):
        told = sum(gain is not None and gain.excludes_zero for gain in gains)
        print(f"the gain over {name} excludes zero in {told} of {len(gains)} searches")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


def table(results: list[SearchResult]) -> Table:
    """Return a table with a row for each search."""
    columns = (
        Column("seed", "right"),
        Column("chain"),
        Column("drop", "right"),
        Column("over labels alone", "right"),
        Column("over plain KD", "right"),
        Column("test %", "right"),
        Column("s", "right"),
    )
    rows = [
        (
            result.seed,
            result.chain,
            "" if result.drop_prob is None else f"{result.drop_prob:g}",
            str(result.over_baseline or "itself"),
            str(result.over_kd or "itself"),
            f"{result.test:.2f}",
            f"{result.seconds:.0f}",
        )
        for result in results
    ]
    return Table(columns, rows)


if __name__ == "__main__":
    main()
