"""The figure of accuracy versus training cost, and the chains that no other beats in both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dgkd_search.results.plot import SIZE, write_figure

PARETO_FIGURE = "accuracy_vs_cost"
_BLUE, _ORANGE = "#0072B2", "#E69F00"


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """Completed trials than which none is as accurate for less work, or more so for as much.

    Args:
        table: from ``trials_table``.

    Returns:
        Their rows, cheapest first; of equals the earlier.
    """
    known = table[(table["state"] == "COMPLETE") & table["training_tflop"].notna()]
    ordered = known.sort_values(
        ["training_tflop", "val_accuracy", "number"], ascending=[True, False, True]
    )
    best = ordered["val_accuracy"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["val_accuracy"] > best]


def chain_of(row: pd.Series) -> str:
    """``resnet26 > resnet14 > resnet8, drop 0.25``."""
    names = [row["teacher"], *row["assistants"].split(">"), row["student"]]
    drop = row["drop_probability"]
    return " > ".join(n for n in names if n) + ("" if pd.isna(drop) else f", drop {drop:g}")


def plot_pareto(table: pd.DataFrame, folder: Path, title: str) -> list[Path]:
    """Write ``accuracy_vs_cost.png`` and ``.svg``: every completed trial, the front marked.

    Returns:
        The paths of the files. The same arguments give the same bytes of SVG.
    """
    return write_figure(lambda: _draw(table, title), folder, PARETO_FIGURE)


def _draw(table: pd.DataFrame, title: str) -> Any:
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    known, best = table[table["state"] == "COMPLETE"], pareto_front(table)
    cost, accuracy = known["training_tflop"], known["val_accuracy"]
    axes.scatter(cost, accuracy, s=26, color=_BLUE, label="completed")
    look: dict[str, Any] = {"drawstyle": "steps-post", "color": _ORANGE, "label": "front"}
    axes.plot(best["training_tflop"], best["val_accuracy"], "o-", **look)
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "parse_math": False}
    for _, row in best.iterrows():
        point = (row["training_tflop"], row["val_accuracy"])
        axes.annotate(f"trial {row['number']}", point, (4, -11), **style)
    axes.set_xlabel("training the chain from nothing (TFLOP)")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", parse_math=False)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure
