"""The figure of accuracy versus assistant count, drawn with matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dgkd_search.results.accuracy_data import COUNT_TITLE, NOTHING_COMPLETED, AccuracyChart
from dgkd_search.results.looks import (
    BEST,
    COMPLETED_BELOW,
    COUNT_BEST,
    COUNT_MEAN,
    INK,
    MEAN_BELOW,
    PRUNED,
    PRUNED_BELOW,
    REPLICATES,
    Look,
)
from dgkd_search.results.marks import Interval, Side
from dgkd_search.results.points import ACCURACY_TITLE
from dgkd_search.results.scales import Scale
from dgkd_search.utils.files import write_bytes

ACCURACY_FIGURE = "accuracy_vs_assistants"
DPI = 150
SIZE = (7.6, 5.0)  # inches

_GRID, _SOFT = "#E4E4E4", "#444444"
_TITLE_WIDTH, _CHAIN_WIDTH = 58, 72  # characters a line
_MANY = 150  # points from which on they are drawn smaller
# Where a label stands from its mark, in points, and which part of it stands there.
_SIDES: dict[Side, tuple[tuple[float, float], str, str]] = {
    "right": ((12, 0), "left", "center_baseline"),
    "left": ((-12, 0), "right", "center_baseline"),
    "above right": ((7, 10), "left", "bottom"),
    "above left": ((-7, 10), "right", "bottom"),
    "above": ((0, 12), "center", "bottom"),
    "below": ((0, -12), "center", "top"),
}


def plot_accuracy(chart: AccuracyChart, folder: Path, *, title: str) -> list[Path]:
    """Write ``accuracy_vs_assistants.png`` and ``.svg``: a point for each trial that ended.

    Args:
        folder: an existing folder.

    Returns:
        The paths of the files. The same arguments give the same bytes of SVG.
    """
    return write_figure(lambda: draw_accuracy(chart, title), folder, ACCURACY_FIGURE)


def write_figure(draw: Callable[[], Figure], folder: Path, name: str) -> list[Path]:
    """Draw a figure and write it as PNG and SVG; the same figure gives the same bytes of SVG.

    Returns:
        The paths of the files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    # A user's matplotlibrc must not change the figure. SVG: text stays text, ids don't vary.
    fixed = {"svg.hashsalt": name, "svg.fonttype": "none"}
    with matplotlib.style.context("default"), matplotlib.rc_context(fixed):
        figure = draw()
        for path, metadata in ((png, {}), (svg, {"Date": None})):
            data = io.BytesIO()
            figure.savefig(data, format=path.suffix[1:], dpi=DPI, metadata=metadata)
            write_bytes(path, data.getvalue())
    return [png, svg]


def draw_accuracy(chart: AccuracyChart, title: str) -> Figure:
    """The figure of a prepared chart."""
    figure, axes = new_figure()
    axes.set_xlim(*chart.count_range)
    ticks = chart.count_ticks
    axes.set_xticks(ticks, [f"{count}\nn = {chart.completed[count]}" for count in ticks])
    axes.set_xlabel(" ".join(COUNT_TITLE))
    accuracy_axis(axes, chart.scale)
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    _lines(axes, chart)
    by_kind = {
        look.label: [(p.x, p.accuracy) for p in chart.shown if p.kind == look.label]
        for look in chart.kinds
    }
    draw_points(axes, chart.kinds, by_kind)
    _edge_marks(axes, chart)
    draw_intervals(axes, chart.replicates, REPLICATES, 4.5)
    _counts(axes, chart)
    subtitle: list[str] = []
    if chart.best is not None:
        label = (chart.best.x, chart.best.y, chart.best.label, chart.best.side)
        draw_best(axes, *label)
        # No-break spaces: a line ends after a model, never after ">".
        chain = textwrap.wrap(" >\u00a0".join(chart.best.models), _CHAIN_WIDTH)
        subtitle = [chart.best.headline, *chain]
    if not chart.completed_points:
        axes.text(0.5, 0.5, NOTHING_COMPLETED, transform=axes.transAxes, ha="center")
    draw_titles(axes, title, subtitle)
    draw_legend(figure, axes, chart.looks, chart.notes)
    return figure


def new_figure() -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in no global list of figures."""
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def accuracy_axis(axes: Axes, scale: Scale) -> None:
    """Put the accuracies' ticks and range on the vertical axis."""
    axes.set_yticks(scale.ticks, scale.tick_labels)
    axes.set_ylim(scale.start, scale.end)  # after the ticks, which would widen it
    axes.set_ylabel(ACCURACY_TITLE)


def draw_points(
    axes: Axes, kinds: Sequence[Look], by_kind: dict[str, list[tuple[float, float]]]
) -> None:
    """Draw points, of each look those under its label."""
    scale = 0.45 if sum(map(len, by_kind.values())) > _MANY else 1.0
    for look in kinds:
        places = by_kind[look.label]
        if not places:
            continue
        x, y = zip(*places, strict=True)
        if look is PRUNED:
            line = max(1.0 * scale, 0.7)
            size = 24 * scale
            axes.scatter(
                x, y, label=look.label, marker="x", color=look.color, s=size, lw=line, zorder=2
            )
        else:
            draw_marks(axes, places, look, 34 * scale)


def draw_marks(axes: Axes, places: Sequence[tuple[float, float]], look: Look, size: float) -> None:
    """Draw marks of a size in square points; outlines where the look isn't filled."""
    x, y = zip(*places, strict=True)
    face, edge = (look.color, "white") if look.filled else ("white", look.color)
    axes.scatter(
        x,
        y,
        s=size,
        label=look.label,
        marker=look.marker,
        facecolors=face,
        edgecolors=edge,
        linewidths=0.6 if look.filled else 1.1,
        alpha=0.9,
        zorder=3,
    )


def draw_best(axes: Axes, x: float, y: float, text: str, side: Side) -> None:
    """A star and its label, which the eye meets first: large, outlined, in bold."""
    axes.scatter(
        [x], [y], marker="*", s=430, color=BEST.color, edgecolors=INK, linewidths=1.4, zorder=6
    )
    draw_label(axes, (x, y), text, side, best=True)


def draw_label(
    axes: Axes, place: tuple[float, float], text: str, side: Side, *, best: bool = False
) -> None:
    """A label beside a mark, readable over lines and points; larger and in bold if the best's."""
    (dx, dy), horizontal, vertical = _SIDES[side]
    axes.annotate(
        text,
        place,
        (dx * (1 if best else 0.5), dy * (1 if best else 0.5)),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=11 if best else 8,
        fontweight="bold" if best else "normal",
        color=INK,
        parse_math=False,
        # An outline of the letters would turn the text of an SVG into shapes.
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
        zorder=7,
    )


def draw_titles(axes: Axes, title: str, subtitle: Sequence[str]) -> None:
    """A title in bold, and lines under it, above the axes: there they hide nothing."""
    text = "\n".join(textwrap.wrap(title, _TITLE_WIDTH))
    size, pad = 8.5, 6
    height = 1.3 * size * len(subtitle) + (pad if subtitle else 0)
    axes.set_title(
        text, loc="left", pad=pad + height, fontsize=11.5, fontweight="bold", parse_math=False
    )
    if subtitle:
        axes.annotate(
            "\n".join(subtitle),
            (0, 1),
            (0, pad),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            color=INK,
            va="bottom",
            parse_math=False,
        )


def draw_legend(
    figure: Figure, axes: Axes, looks: Sequence[Look], notes: Sequence[str] = ()
) -> None:
    """The looks in their order under the axes, with what a reader must know above them."""
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    names = [look.label for look in looks if look.label in by_label]
    if not names:
        return
    figure.legend(
        [by_label[name] for name in names],
        names,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title=" ".join(notes) or None,
        title_fontsize=8.5,
    )


def _lines(axes: Axes, chart: AccuracyChart) -> None:
    """The student alone and the teacher, named at the right edge, where no trial is."""
    for line in chart.lines:
        if line.visible:
            axes.axhline(line.y, color=INK, linewidth=1.3, linestyle=(0, line.dash), zorder=1)
        axes.annotate(
            "\n".join(line.label),
            (1, line.y),
            (5, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va={"middle": "center"}.get(line.align, line.align),
            fontsize=8.5,
            color=INK,
        )


def _edge_marks(axes: Axes, chart: AccuracyChart) -> None:
    """Downward marks at the bottom, each with its number where there is room for it."""
    for look in (COMPLETED_BELOW, PRUNED_BELOW, MEAN_BELOW):
        marks = [mark for mark in chart.edge_marks if mark.kind == look.label]
        if not marks:
            continue
        draw_marks(axes, [(mark.x, mark.y) for mark in marks], look, 30)
        if len(chart.completed) > len(chart.count_ticks):
            continue
        for mark in marks:
            axes.annotate(
                mark.text,
                (mark.x, mark.y),
                (-5, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                color=_SOFT,
            )


def _counts(axes: Axes, chart: AccuracyChart) -> None:
    """Best, and mean with interval, for each count."""
    tops = chart.count_bests
    axes.hlines(
        [top.accuracy for top in tops],
        [top.left for top in tops],
        [top.right for top in tops],
        color=COUNT_BEST.color,
        linewidth=1.8,
        label=COUNT_BEST.label,
        zorder=2.5,
    )
    x, y = [mean.x for mean in chart.means], [mean.mean for mean in chart.means]
    axes.plot(x, y, color=COUNT_MEAN.color, linewidth=0.9, zorder=3.5)
    draw_intervals(axes, chart.means, COUNT_MEAN, 4)


def draw_intervals(axes: Axes, intervals: Sequence[Interval], look: Look, order: float) -> None:
    """Means with their intervals: a cap at an end, an arrowhead where the interval goes on."""
    marker, size, edge = ("_", 9.0, 1.6) if look is REPLICATES else (look.marker, 5.5, 1.4)
    spans = [(each.x, *each.span) for each in intervals if each.span is not None]
    axes.vlines(
        [x for x, _, _ in spans],
        [low for _, low, _ in spans],
        [high for _, _, high in spans],
        color=look.color,
        linewidth=1.3,
        zorder=order,
    )
    ends = {
        "_": [(each.x, end) for each in intervals for end in each.caps],
        "^": [(e.x, e.span[1]) for e in intervals if e.span is not None and e.goes_above],
        "v": [(e.x, e.span[0]) for e in intervals if e.span is not None and e.goes_below],
    }
    for shape, places in ends.items():
        axes.plot(
            [x for x, _ in places],
            [y for _, y in places],
            linestyle="none",
            marker=shape,
            markersize=6,
            markeredgewidth=1.3,
            color=look.color,
            zorder=order,
        )
    axes.plot(
        [each.x for each in intervals],
        [each.mean for each in intervals],
        linestyle="none",
        marker=marker,
        markersize=size,
        markerfacecolor="white",
        markeredgewidth=edge,
        color=look.color,
        zorder=order + 0.1,
    )
    # What the legend shows: an interval, though none may be drawn.
    axes.errorbar(
        [],
        [],
        yerr=[],
        fmt=marker,
        color=look.color,
        markersize=size,
        markerfacecolor="white",
        markeredgewidth=edge,
        elinewidth=1.3,
        capsize=3,
        label=look.label,
    )
