"""Measure how long commands take to start: median seconds, and ratio to an empty Python process.

    python experiments/bench_start.py [--runs 5] --json FILE

`import` is `import dgkd_search`; `help`, `version` and `dry run` are the commands until their end.
`first sign` is the time until a search on a terminal draws something. `first epoch` is the time
until a trial of a search with an empty store has trained an epoch (one concurrent trial, digits,
two models of two epochs); most of it is spent on Ray and on imports in two processes.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bench

MODULE = [sys.executable, "-m", "dgkd_search"]
SEARCH = (
    "--train-limit 200 --teacher resnet14 --student resnet8 --epochs 2 --batch-size 32 --budget 1 "
    "--no-reference --confirm off --concurrency 1 --store store --out run"
)


def to_the_end(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def to_the_first_sign() -> float:
    """Return the seconds until a search on a new terminal draws something."""
    with tempfile.TemporaryDirectory() as folder:
        above, below = pty.openpty()
        began = time.perf_counter()
        process = subprocess.Popen(
            [*MODULE, *shlex.split(SEARCH)], cwd=folder, stdout=below, stderr=below, close_fds=True
        )
        try:
            select.select([above], [], [], 60)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
            os.close(above)
            os.close(below)


def to_the_first_epoch() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*MODULE, *shlex.split(SEARCH)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not any(Path(folder, "store").glob("*/*/checkpoint.json")):
                if process.poll() is not None:
                    raise SystemExit("the search has ended before its first epoch")
                time.sleep(0.02)
            return time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


MEASURES: dict[str, Callable[[], float]] = {
    "python": lambda: to_the_end(sys.executable, "-c", "pass"),
    "import": lambda: to_the_end(sys.executable, "-c", "import dgkd_search"),
    "version": lambda: to_the_end(*MODULE, "--version"),
    "help": lambda: to_the_end(*MODULE, "--help"),
    "first sign": to_the_first_sign,
    "dry run": lambda: to_the_end(*MODULE, "--dry-run"),
    "torch": lambda: to_the_end(sys.executable, "-c", "import torch"),
    "first epoch": to_the_first_epoch,
}


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = bench.parser(__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each (5)")
    args = parser.parse_args(arguments)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(args.runs):  # in turn, so that other load affects all
        for name, take in MEASURES.items():
            found[name].append(take())
    plain = statistics.median(found["python"])
    bench.table(
        f"seconds from the call, median of {args.runs}",
        ("", "seconds", "least", "most", "times python"),
        [
            (name, middle := statistics.median(each), min(each), max(each), middle / plain)
            for name, each in found.items()
        ],
    )
    bench.save(args, began, {"runs": args.runs}, {"seconds": found})


if __name__ == "__main__":
    main()
