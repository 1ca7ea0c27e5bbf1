"""Measure how many errors of a model the next smaller model of its chain makes too.

    python analysis/overlap.py experiments/tables/plain_cifar10.yaml --scale small --data-dir DIR \
        --store STORE --out experiments/figures

TAKD passes errors from one assistant to the next; DGKD (arXiv 2009.08825) trains each learner from
all larger models to avoid that. Both chains of the study are loaded from the store, and every model
classifies the validation images. The overlap of two neighbors is the share of the larger model's
errors that the smaller one makes too; in brackets, those with the same wrong class.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
from tables import read

from dgkd_search.config.parse_options import parse_options
from dgkd_search.data import PreparedData
from dgkd_search.distillation.guidances.registry import get_guidance
from dgkd_search.models.layers import Normalize
from dgkd_search.store.location import store_path
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.weights import load_model
from dgkd_search.workflows.compare import Method
from dgkd_search.workflows.single_chain import plan


def predictions(stage: StageSpec, store: Store, data: PreparedData) -> torch.Tensor:
    """Return the classes that a model predicts for the validation images."""
    entry = store.get(stage.key)
    if entry is None:
        name = stage.architecture.name
        sys.exit(f"{name} isn't in {store.root}; train the study's tables on it first")
    model = load_model(stage, entry.tensors)
    normalize = Normalize(data.info.mean, data.info.std)
    images = torch.from_numpy(data.validation().images)
    with torch.inference_mode():
        return torch.cat([model(normalize(some)).argmax(1) for some in torch.split(images, 500)])


def overlap(upper: torch.Tensor, lower: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Return the percentages of the upper model's errors that the lower one makes too.

    The first one counts any wrong class, the second one only the same wrong class.
    """
    wrong = upper != truth
    both = wrong & (lower != truth)
    same = wrong & (lower == upper)
    count = max(1, int(wrong.sum()))
    return 100 * int(both.sum()) / count, 100 * int(same.sum()) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--scale", choices=["paper", "small"], required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--store")
    parser.add_argument("--out", type=Path, default=Path())
    args = parser.parse_args()
    title, tables, options, _ = read(args.study, args.scale)
    options |= {k: v for k in ("data_dir", "store") if (v := getattr(args, k)) is not None}
    rows = [row for table in tables for row in table.rows if not row.options and not row.drop_prob]
    longest = max(len(row.chain) for row in rows)
    ladders = {row.guidance: row for row in rows if len(row.chain) == longest}
    found = {guidance: measure(row, options) for guidance, row in ladders.items()}
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for guidance, steps in found.items():
        label, color = get_guidance(guidance).method, get_guidance(guidance).color
        names = [step["of"] for step in steps]
        axes.plot(names, [s["errors"] for s in steps], "o-", color=color, label=label)
        same = [s["same"] for s in steps]
        axes.plot(names, same, "o:", color=color, label=f"{label}, same class")
        for step in steps:
            print(f"{label}: {step['of']}: {step['errors']:.1f} % ({step['same']:.1f} %)")
    axes.set_ylabel("errors that the next model makes too (%)")
    axes.set_title(f"{title}: error overlap", loc="left", fontsize=11)
    axes.legend(frameon=False)
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    stem = f"{args.study.stem}_{args.scale}_overlap"
    figure.savefig(args.out / f"{stem}.png", dpi=130)
    (args.out / f"{stem}.json").write_text(json.dumps(found, indent=1) + "\n")


def measure(row: Method, options: dict[str, Any]) -> list[dict[str, Any]]:
    stages, data = plan(row.chain, guidance=row.guidance, drop_prob=row.drop_prob, **options)
    store = Store(store_path(parse_options(options, "{}").store))
    truth = torch.from_numpy(data.validation().labels)
    said = [predictions(stage, store, data) for stage in stages]
    steps = []
    for i, (upper, lower) in enumerate(itertools.pairwise(said)):
        errors, same = overlap(upper, lower, truth)
        names = [stage.architecture.name.split("-")[0] for stage in stages[i : i + 2]]
        steps.append({"of": " > ".join(names), "errors": errors, "same": same})
    return steps


if __name__ == "__main__":
    main()
