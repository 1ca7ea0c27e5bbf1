"""The figure of accuracy versus assistant count."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dgkd_search.results.looks import (
    BLUE,
    GRAY,
    GREEN,
    INK,
    VERMILION,
    YELLOW,
    guidance_look,
    in_order,
)
from dgkd_search.results.table import accuracy_by_count, plottable
from dgkd_search.utils.files import write_bytes

ACCURACY_FIGURE = "accuracy_vs_assistants"
DPI = 150
SIZE = (7.6, 5.0)  # inches

# Within the column of a count: its trials around the middle left, its mean beside them.
_CLOUD, _SPREAD, _MEAN = -0.10, 0.34, 0.24
_GOLDEN = 0.6180339887  # its multiples modulo 1 stay apart, in whatever order trials come
_LEAST_SPAN = 1.0  # percentage points; less would blow up the noise of single images
_FLOOR = 0.035  # height of the marks for what lies below the scale, as a share of the axes
_CHAIN_WIDTH = 58  # characters a line


def plot_accuracy(
    table: pd.DataFrame,
    folder: Path,
    *,
    title: str,
    reference: float | None,
    teacher: float | None,
) -> list[Path]:
    """Write ``accuracy_vs_assistants.png`` and ``.svg``: a point for each trial that ended.

    Args:
        table: from ``trials_table``.
        folder: an existing folder.
        reference: validation accuracy in percent of the student trained on labels alone.
        teacher: the teacher's, likewise.

    Returns:
        The paths of the files. The same arguments give the same bytes of SVG.
    """
    return write_figure(lambda: _draw(table, title, reference, teacher), folder, ACCURACY_FIGURE)


def write_figure(draw: Callable[[], Any], folder: Path, name: str) -> list[Path]:
    """Draw a figure and write it as PNG and SVG; the same figure gives the same bytes of SVG.

    Returns:
        The paths of the files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    # A user's matplotlibrc must not change the figure. SVG: text stays text, ids don't vary.
    with (
        matplotlib.style.context("default"),
        matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}),
    ):
        figure = draw()
        for path, metadata in ((png, {}), (svg, {"Date": None})):
            data = io.BytesIO()
            figure.savefig(data, format=path.suffix[1:], dpi=DPI, metadata=metadata)
            write_bytes(path, data.getvalue())
    return [png, svg]


def accuracy_limits(
    completed: Iterable[float],
    pruned: Iterable[float],
    reference: float | None,
    teacher: float | None,
) -> tuple[float, float]:
    """The accuracies, in percent, between which the figure shows most; the rest goes to its edge.

    The completed trials rule, but for collapsed ones (five robust standard deviations below the
    median). Pruned trials and lines widen the range as long as they don't squash it.
    """
    values, others = np.sort([*completed]), np.sort([*pruned])
    lines = [value for value in (reference, teacher) if value is not None]
    if not len(values):
        everything = [*others, *lines] or [0.0, 100.0]
        return _at_least(min(everything), max(everything))
    middle = float(np.median(values))
    deviation = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SPAN / 4)
    low, high = _at_least(float(values[values >= middle - 5 * deviation][0]), float(values[-1]))
    # The student alone is what all trials are compared with, so it may take more room.
    for value, room in ((reference, 3.0), (teacher, 2.0)):
        if value is not None and max(high, value) - min(low, value) <= room * (high - low):
            low, high = min(low, value), max(high, value)
    near = others[others >= low - 0.3 * (high - low)]
    return float(min([low, *near])), float(max([high, *near]))


def _at_least(low: float, high: float) -> tuple[float, float]:
    missing = max(_LEAST_SPAN - (high - low), 0.0)
    return low - missing / 2, high + missing / 2


def _draw(table: pd.DataFrame, title: str, reference: float | None, teacher: float | None) -> Any:
    completed, pruned = plottable(table, "COMPLETE"), plottable(table, "PRUNED")
    summary = accuracy_by_count(table)
    values = [*completed["val_accuracy"], *completed["repeats_mean"].dropna()]
    low, high = accuracy_limits(values, pruned["val_accuracy"], reference, teacher)
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    counts = dict(zip(summary["assistant_count"], summary["completed"], strict=True))
    most = int(max([0, *completed["assistant_count"], *pruned["assistant_count"]]))
    axes.set_xlim(-0.6, most + 0.6)
    ticks = range(most + 1)
    axes.set_xticks(ticks, [f"{count}\nn = {counts.get(count, 0)}" for count in ticks])
    locator = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10])
    bottom, top = low - 0.12 * (high - low), high + 0.07 * (high - low)
    axes.set_yticks([t for t in locator.tick_values(bottom, top) if 0 <= t <= 100])
    axes.set_ylim(bottom, top)  # after the ticks, which would widen it
    axes.set_xlabel("number of assistants (n = completed trials)")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _lines(axes, low, high, reference, teacher)
    _points(axes, completed, pruned, low)
    _repeats(axes, completed, low)
    if len(summary):
        _summary(axes, summary, low)
    if len(completed):
        note_height = _best(axes, completed)
    else:
        axes.text(0.5, 0.5, "no trial has completed yet", transform=axes.transAxes, ha="center")
        note_height = 0
    style: dict[str, Any] = {"fontsize": 11.5, "fontweight": "bold", "parse_math": False}
    axes.set_title(title, loc="left", pad=8 + note_height, **style)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _lines(
    axes: Any, low: float, high: float, reference: float | None, teacher: float | None
) -> None:
    """The student alone and the teacher, named at the right edge, where no trial is."""
    named = (("student alone", reference, (0, (5, 2))), ("teacher", teacher, (0, (1, 1.2))))
    known = sorted((value, name, style) for name, value, style in named if value is not None)
    heights = [min(max(value, low), high) for value, _, _ in known]
    sides = ["center"] * len(known)
    if len(known) == 2 and heights[1] - heights[0] < 0.13 * (high - low):
        sides = ["top", "bottom"]  # the labels would overlap
    for (value, name, style), height, side in zip(known, heights, sides, strict=True):
        arrow = " ↑" if value > high else " ↓" if value < low else ""
        if not arrow:
            axes.axhline(value, color=INK, linewidth=1.3, linestyle=style, zorder=1)
        position = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        text = f"{name}{arrow}\n{value:.2f} %"
        axes.annotate(text, (1, height), (5, 0), va=side, fontsize=8.5, color=INK, **position)


def _points(axes: Any, completed: pd.DataFrame, pruned: pd.DataFrame, low: float) -> None:
    """Every trial; those below ``low`` as one mark at the bottom, with their number."""
    # Without assistants all guidances are one, called dense: no reason to tell colors apart.
    taught = set(completed.loc[completed["assistant_count"] > 0, "guidance"])
    several = len(taught) > 1 or "none" in set(completed["guidance"])
    look: dict[str, Any] = {
        "s": 34,
        "edgecolors": "white",
        "linewidths": 0.6,
        "alpha": 0.9,
        "zorder": 3,
    }
    for guidance in in_order(completed["guidance"]) if several else ():
        group = completed[completed["guidance"] == guidance]
        color, marker = guidance_look(guidance)
        label = f"completed, {guidance}"
        _scatter(axes, group, low, label=label, marker=marker, color=color, **look)
    if not several:
        _scatter(axes, completed, low, label="completed", marker="o", color=BLUE, **look)
    look = {"marker": "x", "s": 24, "linewidths": 1.0, "color": GRAY, "zorder": 2}
    _scatter(axes, pruned, low, label="pruned (last accuracy)", **look)
    kinds = ((completed, _CLOUD - 0.16, BLUE, BLUE), (pruned, _CLOUD + 0.10, "white", GRAY))
    for (trials, shift, face, edge), kind in zip(kinds, ("completed", "pruned"), strict=True):
        below = trials.loc[trials["val_accuracy"] < low, "assistant_count"].tolist()
        marks = [(count + shift, str(number)) for count, number in Counter(below).items()]
        _below(axes, marks, f"{kind}, below the scale (number)", face, edge)


def _repeats(axes: Any, completed: pd.DataFrame, low: float) -> None:
    """What was taught again with fresh seeds: its mean and interval, over its trial's place."""
    again = completed[completed["repeats"].notna() & (completed["repeats_mean"] >= low)]
    if not len(again):
        return
    look: dict[str, Any] = {"fmt": "_", "color": INK, "markersize": 9, "markeredgewidth": 1.6}
    look |= {"elinewidth": 1.1, "capsize": 2.5, "zorder": 4.5}
    mean, half = (again[f"repeats_{name}"].astype(float) for name in ("mean", "half_width"))
    label = "taught again: mean with 95% t-interval"
    axes.errorbar(_positions(again), mean, yerr=half.fillna(0.0), label=label, **look)


def _scatter(axes: Any, trials: pd.DataFrame, low: float, **look: Any) -> None:
    shown = trials[trials["val_accuracy"] >= low]
    if len(shown):
        axes.scatter(_positions(shown), shown["val_accuracy"], **look)


def _below(axes: Any, marks: list[tuple[float, str]], label: str, face: str, edge: str) -> None:
    """Downward marks at the bottom edge, each with a text."""
    if not marks:
        return
    transform = axes.get_xaxis_transform()
    look = {"marker": "v", "s": 30, "color": face, "edgecolors": edge, "linewidths": 1.0}
    x = [position for position, _ in marks]
    axes.scatter(x, [_FLOOR] * len(x), transform=transform, label=label, zorder=3, **look)
    style = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": "#444444"}
    for position, text in marks:
        axes.annotate(text, (position, _FLOOR), (5, 0), xycoords=transform, **style)


def _summary(axes: Any, summary: pd.DataFrame, low: float) -> None:
    """Mean with interval, and best, for each count."""
    x = summary["assistant_count"].to_numpy()
    look: dict[str, Any] = {"color": GREEN, "linewidth": 1.8, "zorder": 2.5}
    ends = (x + _CLOUD - _SPREAD / 2 - 0.05, x + _MEAN + 0.08)
    best = summary["best"].where(summary["best"] >= low)
    axes.hlines(best, *ends, label="best of each count", **look)
    mean = summary["mean"].where(summary["mean"] >= low)
    look = {"color": VERMILION, "fmt": "D-", "markersize": 5.5, "markerfacecolor": "white"}
    look |= {"markeredgewidth": 1.4, "linewidth": 0.9, "elinewidth": 1.4, "capsize": 3.5}
    label = "mean with 95% t-interval"
    axes.errorbar(x + _MEAN, mean, yerr=summary["half_width"], label=label, zorder=4, **look)
    lost = summary[summary["mean"] < low]
    values = zip(lost["assistant_count"], lost["mean"], strict=True)
    marks = [(count + _MEAN, f"{value:.1f}") for count, value in values]
    _below(axes, marks, "mean, below the scale (%)", "white", VERMILION)


def _best(axes: Any, completed: pd.DataFrame) -> int:
    """A star at the best trial (of equals, the shortest chain), its chain above the axes.

    Where trials were taught again, the best is the one of the highest mean.

    Returns:
        The height of the text, in points.
    """
    again = completed[completed["repeats"].notna()]
    accuracy = "repeats_mean" if len(again) else "val_accuracy"
    ranks = [accuracy, "val_accuracy", "assistant_count", "number"]
    known = again if len(again) else completed
    trial = known.sort_values(ranks, ascending=[False, False, True, True]).head(1)
    x, y = float(_positions(trial)[0]), float(trial[accuracy].iloc[0])
    look = {"marker": "*", "s": 170, "color": YELLOW, "edgecolors": INK, "linewidths": 1.0}
    axes.scatter([x], [y], zorder=5, **look)
    names = ["number", "guidance", "teacher", "assistants", "student"]
    number, guidance, teacher, assistants, student = trial[names].iloc[0]
    models = [name for name in (teacher, *assistants.split(">"), student) if name]
    # No-break spaces: a line ends after a model, never after ">".
    chain = textwrap.wrap(" >\u00a0".join(models), _CHAIN_WIDTH)
    method = guidance if assistants else {"none": "labels alone"}.get(guidance, "plain KD")
    seeds = f" (mean of {int(trial['repeats'].iloc[0])} seeds)" if len(again) else ""
    lines = [f"best: {y:.2f} %{seeds}, trial {number}, {method}", *chain]
    left, right = axes.get_xlim()
    # Above the axes the text hides nothing; it grows away from the nearer side.
    share = (x - left) / (right - left)
    anchor = 0.0 if share < 1 / 3 else 1.0 if share > 2 / 3 else 0.5
    side = {0.0: "left", 0.5: "center", 1.0: "right"}[anchor]
    look = {"textcoords": "axes fraction", "ha": side, "va": "bottom", "fontsize": 8.5}
    arrow = {"arrowstyle": "-", "color": INK, "linewidth": 0.8, "relpos": (anchor, 0)}
    arrow |= {"shrinkA": 0, "shrinkB": 7}
    text, position = "\n".join(lines), (share, 1.015)
    axes.annotate(text, (x, y), position, parse_math=False, arrowprops=arrow, zorder=6, **look)
    return 12 * len(lines)


def _positions(trials: pd.DataFrame) -> Any:
    """Where trials stand on the axis: their count, a little aside, always the same way."""
    aside = trials["number"].to_numpy(dtype=float) * _GOLDEN % 1 - 0.5
    return trials["assistant_count"].to_numpy(dtype=float) + _CLOUD + _SPREAD * aside
