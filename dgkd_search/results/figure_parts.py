"""Shared parts of the matplotlib figures: marks, axes, legends, files."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dgkd_search.errors.shown import shown
from dgkd_search.results.looks import BEST, INK, PRUNED, REPLICATES, Look
from dgkd_search.results.marks import Interval, Side
from dgkd_search.results.points import ACCURACY_TITLE, MANY_POINTS
from dgkd_search.results.scales import Scale
from dgkd_search.utils.files import write_bytes

DPI = 150
SIZE = (7.6, 5.0)  # inches
GRID = "#E4E4E4"

_TITLE_WIDTH = 58  # characters per line
# Offset of a label from its mark in points, and its alignment there.
_SIDES: dict[Side, tuple[tuple[float, float], str, str]] = {
    "right": ((12, 0), "left", "center_baseline"),
    "left": ((-12, 0), "right", "center_baseline"),
    "above right": ((7, 10), "left", "bottom"),
    "above left": ((-7, 10), "right", "bottom"),
    "above": ((0, 12), "center", "bottom"),
    "below": ((0, -12), "center", "top"),
}


def write_figure(draw: Callable[[], Figure], folder: Path, name: str) -> list[Path]:
    """Draw a figure and write it as PNG and SVG; equal figures give identical SVG files.

    Returns:
        The paths of the files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    # A user's matplotlibrc must not change the figure. SVG keeps text as text and has fixed ids.
    with (
        matplotlib.style.context("default"),
        matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        figure = draw()
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in another script
        for path, metadata in ((png, {}), (svg, {"Date": None})):
            data = io.BytesIO()
            figure.savefig(data, format=path.suffix[1:], dpi=DPI, metadata=metadata)
            write_bytes(path, data.getvalue())
    return [png, svg]


def new_figure() -> tuple[Figure, Axes]:
    """Create a figure with one pair of axes, outside pyplot's global state."""
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def accuracy_axis(axes: Axes, scale: Scale) -> None:
    """Set ticks, limits and title of the vertical axis of accuracies."""
    axes.set_yticks(scale.ticks, scale.tick_labels)
    axes.set_ylim(scale.start, scale.end)  # after set_yticks, which may widen the limits
    axes.set_ylabel(ACCURACY_TITLE)


def draw_points(
    axes: Axes, kinds: Sequence[Look], by_kind: dict[str, list[tuple[float, float]]]
) -> None:
    """Draw the points of each look; ``by_kind`` has their positions by the look's label."""
    scale = 0.45 if sum(map(len, by_kind.values())) > MANY_POINTS else 1.0
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
    """Draw marks of a size in square points; a look that isn't filled gives outlines."""
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
    """Draw the star of the best and its label in bold."""
    axes.scatter(
        [x], [y], marker="*", s=430, color=BEST.color, edgecolors=INK, linewidths=1.4, zorder=6
    )
    draw_label(axes, (x, y), text, side, best=True)


def draw_label(
    axes: Axes, place: tuple[float, float], text: str, side: Side, *, best: bool = False
) -> None:
    """Draw a label beside a mark; that of the best is larger and bold."""
    (dx, dy), horizontal, vertical = _SIDES[side]
    axes.annotate(
        shown(text),
        place,
        (dx * (1 if best else 0.5), dy * (1 if best else 0.5)),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=11 if best else 8,
        fontweight="bold" if best else "normal",
        color=INK,
        parse_math=False,
        # A stroke around the letters would turn the SVG text into shapes.
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
        zorder=7,
    )


def draw_titles(axes: Axes, title: str, subtitle: Sequence[str]) -> None:
    """Draw a bold title and the lines of a subtitle above the axes."""
    text = "\n".join(textwrap.wrap(shown(title), _TITLE_WIDTH))
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
    """Draw the legend under the axes, in the order of ``looks``, with notes above it."""
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    names = [look.label for look in looks if look.label in by_label]
    if not names:
        return
    legend = figure.legend(
        [by_label[name] for name in names],
        names,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title=" ".join(notes) or None,
        title_fontsize=8.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_intervals(axes: Axes, intervals: Sequence[Interval], look: Look, order: float) -> None:
    """Draw means with their intervals: a cap at a true end, an arrowhead at a clipped one."""
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
    # An empty error bar, so that the legend shows an interval even if none is drawn.
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
