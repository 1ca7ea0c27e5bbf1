"""Rank the best configuration of searches among all configurations of a pool.

    python analysis/found.py runs/* --table experiments/figures/pool_cifar10_small.json

Each run is a search over a pool whose configurations have all been trained once. The best
validation accuracy after 6, 12 and 18 trials is ranked among them (1 is the best).
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from optuna.trial import TrialState

from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.utils.tables import Column, Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--table", type=Path, required=True, help="JSON of experiments/tables.py")
    parser.add_argument("--after", type=int, nargs="+", default=[6, 12, 18])
    parser.add_argument("--json", type=Path, help="file for the ranks")
    args = parser.parse_args()
    every = [row["runs"][0]["validation"] for row in json.loads(args.table.read_text())["rows"]]
    median = statistics.median(every)
    print(f"{len(every)} configurations, best {max(every):.2f} %, median {median:.2f} %\n")
    ranks: dict[str, list[int]] = {}
    rows = []
    for run in args.runs:
        study = open_readonly(RunFolder(run))
        cells, ranks[run.name] = [], []
        for count in args.after:
            known = [t for t in study.trials[:count] if t.state == TrialState.COMPLETE and t.value]
            best = max((t.value for t in known if t.value is not None), default=0.0)
            rank = 1 + sum(value > best + 1e-9 for value in every)
            cells.append(f"{rank} ({best:.2f} %)")
            ranks[run.name].append(rank)
        rows.append((run.name, *cells))
    columns = [Column("run"), *(Column(f"after {count}", "right") for count in args.after)]
    print("\n".join(Table(columns, rows).markdown()))
    if args.json is not None:
        told = {"configurations": len(every), "after": args.after, "ranks": ranks}
        args.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
