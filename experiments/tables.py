"""Tables of the paper, and similar ones: every row is trained with several seeds.

    python experiments/tables.py experiments/tables/plain_cifar10.yaml --scale small --data-dir DIR

A YAML file defines rows (chains, guidances, drop probabilities) and two scales: ``paper``, with the
paper's epochs, and ``small``, which takes hours on two cores. Trained stages are in the store, so
an interrupted run continues, rows that tables share are trained once, and several processes
(``--workers``) share the work.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import dgkd_search


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        published: accuracies in percent by row, as a paper states them for its own recipe.
    """

    title: str
    rows: tuple[dgkd_search.Method, ...]
    published: dict[str, float]


def read(path: Path, scale: str) -> tuple[str, list[Table], dict[str, Any], int]:
    """Return title, tables, options and number of seeds of a study at a scale."""
    said = yaml.safe_load(path.read_text())
    chosen = said["scales"][scale]
    options = {k.replace("-", "_"): v for k, v in {**said["options"], **chosen["options"]}.items()}
    family = options["family"]
    return said["title"], [_table(t, family) for t in said["tables"]], options, chosen["seeds"]


def _table(said: dict[str, Any], family: str) -> Table:
    rows = [*said.get("rows", ()), *(_grid(**said["grid"]) if "grid" in said else ())]
    methods = tuple(
        dgkd_search.Method(
            row["name"],
            tuple(model(family, size) for size in row["chain"].split()),
            row.get("guidance", "dense"),
            row.get("drop", 0.0),
            row.get("rate", 1.0),
            {k.replace("-", "_"): v for k, v in row.get("options", {}).items()},
        )
        for row in rows
    )
    published = {row["name"]: row["published"] for row in rows if "published" in row}
    return Table(said["title"], methods, published)


def _grid(teacher: str, pool: str, student: str, drops: list[float]) -> Iterator[dict[str, Any]]:
    """Yield all chains over a pool; those with one teacher once, as they have nothing to drop."""
    candidates = pool.split()
    for count in range(len(candidates) + 1):
        for assistants in itertools.combinations(candidates, count):
            chain = " ".join([teacher, *assistants, student])
            for drop in drops if assistants else [0]:
                name = f"{chain.replace(' ', ' > ')}, drop {drop:g}" if assistants else "KD"
                yield {"name": name, "chain": chain, "drop": drop}


def model(family: str, size: str) -> str:
    """Return a member's name: plain4-c10 for ``plain-c10`` and 4, wrn_40_2 for ``wrn`` and 40_2,
    else for example resnet20."""
    stem, _, suffix = family.partition("-")
    if family == "resnet-imagenet":
        return f"resnet{size}"
    joined = "_" if family == "wrn" else ""
    return f"{stem}{joined}{size}" + (f"-{suffix}" if suffix else "")


def identity(method: dgkd_search.Method) -> tuple[object, ...]:
    options = sorted(method.options.items())
    return method.chain, method.guidance, method.drop_prob, method.rate, *options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="YAML file of the tables")
    parser.add_argument("--scale", choices=["paper", "small"], required=True)
    parser.add_argument("--data-dir", help="real images")
    parser.add_argument("--store", help="where stages are kept (the user's cache folder)")
    parser.add_argument("--seeds", type=int, help="of each row's student, instead of the study's")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--out", type=Path, help="folder for the tables and their JSON")
    args = parser.parse_args()
    title, tables, options, seeds = read(args.study, args.scale)
    seeds = args.seeds or seeds
    options |= {k: v for k in ("data_dir", "store") if (v := getattr(args, k)) is not None}
    pairs = [pair.split("=", 1) for pair in args.set]
    options |= {name.replace("-", "_"): value for name, value in pairs}
    rows = {identity(row): row for t in tables for row in t.rows}
    tasks = [(seed, row) for seed in range(seeds) for row in rows.values()]
    found: dict[tuple[object, ...], list[dgkd_search.MethodRun]] = {key: [] for key in rows}
    began = time.monotonic()
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
        runs = {
            pool.submit(dgkd_search.train_student, row, seed, options): row for seed, row in tasks
        }
        for done, future in enumerate(as_completed(runs), 1):
            row, run = runs[future], future.result()
            found[identity(row)].append(run)
            seconds = time.monotonic() - began
            line = f"{done} of {len(tasks)}, {seconds:.0f} s: {row.name}: {run.validation:.2f} %"
            print(line, file=sys.stderr, flush=True)
    lines = [f"# {title}, {args.scale} scale", "", f"    {command()}", ""]
    for part in tables:
        runs_of = {
            _shown(part, row): sorted(found[identity(row)], key=lambda run: run.replicate)
            for row in part.rows
        }
        lines += [f"## {part.title}", "", *dgkd_search.comparison_table(runs_of), ""]
    print("\n".join(lines))
    if args.out is not None:
        name = f"{args.study.stem}_{args.scale}"
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"{name}.md").write_text("\n".join(lines))
        record = [
            {
                **asdict(row),
                "identity": _named(row),
                "runs": [asdict(run) for run in sorted(found[key], key=lambda r: r.replicate)],
            }
            for key, row in rows.items()
        ]
        parts = [
            {"title": part.title, "rows": [(row.name, _named(row)) for row in part.rows]}
            for part in tables
        ]
        values = {"title": title, "scale": args.scale, "options": _public(options)}
        values |= {"tables": parts, "rows": record}
        (args.out / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")


def _named(row: dgkd_search.Method) -> str:
    return json.dumps(identity(row))


def _shown(part: Table, row: dgkd_search.Method) -> str:
    value = part.published.get(row.name)
    return row.name + (f" (published {value:.2f})" if value is not None else "")


def _public(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in ("data_dir", "store")}


def command() -> str:
    """Return this run's command line without paths."""
    words = ["python", "experiments/tables.py"]
    skip = {"--data-dir": "DIR", "--store": "STORE", "--out": "experiments/figures"}
    arguments = iter(sys.argv[1:])
    for word in arguments:
        if word in skip:
            next(arguments)
            if word != "--out":
                words += [word, skip[word]]
        else:
            words.append(word)
    return shlex.join(words)


if __name__ == "__main__":
    main()
