"""Shared parts of the charts of the page: marks, axes, legends, text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import altair as alt
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from dgkd_search.errors.shown import shown_values
from dgkd_search.results.accuracy_data import AccuracyChart
from dgkd_search.results.looks import BEST, INK, Look, vega_shape
from dgkd_search.results.marks import BEST_LABEL_WIDTH, Side, place_label
from dgkd_search.results.points import ACCURACY_TITLE, MANY_POINTS, TrialPoint
from dgkd_search.results.scales import Scale
from dgkd_search.utils.intervals import plus_minus

Value: TypeAlias = str | float | list[str] | None
Row: TypeAlias = Mapping[str, Value]

HEIGHT = 320  # pixels
_CHARACTER, _SYMBOL = 6.6, 36  # widths in pixels of a legend's character and of its symbol
# Parameters that the page sets to its colors, which differ in light and dark mode.
INK_NOW, PAPER_NOW = alt.ExprRef("ink"), alt.ExprRef("paper")
# Position of a label at its mark: alignment, baseline, offset in pixels.
_SIDES: dict[
    Side, tuple[Literal["left", "center", "right"], Literal["top", "middle", "bottom"], int, int]
] = {
    "right": ("left", "middle", 14, 1),
    "left": ("right", "middle", -14, 1),
    "above right": ("left", "bottom", 8, -10),
    "above left": ("right", "bottom", -8, -10),
    "above": ("center", "bottom", 0, -13),
    "below": ("center", "top", 0, 14),
}

TIPS = [
    alt.Tooltip("trial:Q"),
    alt.Tooltip("chain:N"),
    alt.Tooltip("guidance:N"),
    alt.Tooltip("drop:Q", title="drop probability"),
    alt.Tooltip("accuracy:Q", title="validation (%)", format=".2f"),
    alt.Tooltip("seeds:N", title="fresh seeds"),
    alt.Tooltip("kind:N", title="state"),
]


@dataclass(frozen=True)
class ChartSpec:
    """A Vega-Lite specification that includes its data.

    Attributes:
        json: its text, escaped for use within a script of a page.
    """

    json: Markup


def row(point: TrialPoint, x: float | None) -> dict[str, Value]:
    """Return the data of a point, including those of its tooltip."""
    again = point.replicates
    seeds = "" if again is None else f"{plus_minus(again.mean, again.half_width)} ({again.count})"
    return {
        "x": x,
        "y": point.accuracy,
        "kind": point.kind,
        "trial": point.trial,
        "chain": point.chain,
        "guidance": point.guidance,
        "drop": point.drop,
        "assistants": point.assistants,
        "accuracy": point.accuracy,
        "seeds": seeds,
    }


def point_size(count: int) -> int:
    """Return the size of each of ``count`` points, in square pixels."""
    return 70 if count <= MANY_POINTS else 30


def accuracy_axis(scale: Scale) -> alt.Y:
    """Return the axis of accuracies; all charts of a search share its scale."""
    return alt.Y(
        "y:Q",
        title=ACCURACY_TITLE,
        scale=alt.Scale(domain=[scale.start, scale.end], clamp=True, nice=False, zero=False),
        axis=alt.Axis(values=[*scale.ticks], format=f".{scale.decimals}f"),
    )


@dataclass(frozen=True)
class Kinds:
    """Colors and shapes of kinds of marks, with one legend for both."""

    names: list[str]
    color: alt.Color
    shape: alt.Shape

    @classmethod
    def of(cls, looks: Sequence[Look]) -> Kinds:
        names = [look.label for look in looks]
        colors = [color_now(look) for look in looks]
        shapes = [vega_shape(look) for look in looks]
        legend = alt.Legend(title=None, labelLimit=300, symbolSize=90)
        return cls(
            names,
            alt.Color("kind:N", scale=alt.Scale(domain=names, range=colors), legend=legend),
            alt.Shape("kind:N", scale=alt.Scale(domain=names, range=shapes), legend=legend),
        )


@dataclass(frozen=True)
class ChartBuilder:
    """Builds a chart from layers of marks that share axes and a legend.

    Data and layers are kept apart because Altair copies its arguments at every step.

    Attributes:
        kinds: the kinds in the legend, or None.
    """

    x: alt.X
    y: alt.Y
    kinds: Kinds | None = None
    layers: list[alt.Chart] = field(default_factory=list)
    datasets: dict[str, list[Row]] = field(default_factory=dict)

    def data(self, rows: Iterable[Row]) -> alt.NamedData:
        name = f"data{len(self.datasets)}"
        self.datasets[name] = [*rows]
        return alt.NamedData(name)

    def chart(self, rows: Iterable[Row]) -> alt.Chart:
        """Return a chart at the fields ``x`` and ``y`` of the rows, without a mark type yet."""
        return alt.Chart(self.data(rows)).encode(x=self.x, y=self.y)

    def add(self, *layers: alt.Chart) -> None:
        """Add layers on top of the existing ones."""
        self.layers.extend(layers)

    def add_dots(self, rows: Sequence[Row], *tips: alt.Tooltip) -> None:
        """Add points of trials; a click on a kind in the legend highlights it."""
        assert self.kinds is not None
        chosen = alt.selection_point(fields=["kind"], bind="legend", name="chosen")
        marks = self.chart(rows).mark_point(filled=True, size=point_size(len(rows)))
        encoded = marks.encode(
            color=self.kinds.color,
            shape=self.kinds.shape,
            opacity=alt.when(chosen).then(alt.value(0.9)).otherwise(alt.value(0.08)),
            tooltip=[*TIPS, *tips],
        )
        self.add(encoded.add_params(chosen))

    def add_star(self, place: tuple[float, float], text: str, side: Side) -> None:
        """Add the star of the best and its label in bold."""
        here = self.chart([{"x": place[0], "y": place[1], "text": text}])
        star = here.mark_point(
            shape=vega_shape(BEST),
            filled=True,
            size=430,
            fill=BEST.color,
            stroke=INK_NOW,
            strokeWidth=1.5,
            strokeJoin="round",
            opacity=1,
            description=text,
        )
        self.add(star)
        self.add_labels(here, side, size=13, bold=True)

    def add_labels(
        self, marks: alt.Chart, side: Side, *, size: int = 11, bold: bool = False
    ) -> None:
        """Add the field ``text`` beside marks, with a halo in the color of the page."""
        align, baseline, dx, dy = _SIDES[side]
        for halo in (True, False):
            text = marks.mark_text(
                align=align,
                baseline=baseline,
                dx=dx if bold else dx // 2,
                dy=dy if bold else dy // 2,
                fontSize=size,
                fontWeight="bold" if bold else "normal",
                fill=PAPER_NOW if halo else INK_NOW,
                stroke=PAPER_NOW if halo else alt.Undefined,
                strokeWidth=4 if halo else 0,
                strokeJoin="round",
                aria=not halo,
            )
            self.add(text.encode(text="text:N"))

    def add_trial_star(self, chart: AccuracyChart, places: Mapping[int, float]) -> None:
        """Add the star of the best trial to a chart of the trials' own accuracies.

        Args:
            places: x positions of the trials in the chart, by number; without the best trial,
                there is no star.
        """
        best = chart.best
        if best is None or best.trial is None or best.trial not in places:
            return
        low, span = min(places.values()), (max(places.values()) - min(places.values())) or 1.0
        shares = {
            point.trial: ((places[point.trial] - low) / span, chart.scale.share(point.accuracy))
            for point in chart.points
            if point.trial in places
        }
        label = place_label(shares[best.trial], BEST_LABEL_WIDTH, [*shares.values()])
        place = places[best.trial], max(best.accuracy, chart.scale.low)
        self.add_star(place, best.trial_label, label.side if label else "above")

    def spec(self, description: str, names: Sequence[str] | None = None) -> ChartSpec:
        """Return the specification of the chart; it is as wide as its container.

        Args:
            description: text for screen readers.
            names: labels in the legend, if they aren't those of ``kinds``; the longest one
                determines the number of columns.
        """
        names = names or (self.kinds.names if self.kinds is not None else [])
        widest = max(map(len, names), default=1)
        content: dict[str, object] = {
            "$schema": alt.SCHEMA_URL,
            "description": description,
            "width": "container",
            "height": HEIGHT,
            "padding": {"left": 5, "top": 5, "bottom": 5, "right": 12},
            "usermeta": {"legendWidth": round(_CHARACTER * widest + _SYMBOL)},
            "params": [{"name": "ink", "value": INK}, {"name": "paper", "value": "#ffffff"}],
            "layer": [_unit(layer) for layer in self.layers],
            "datasets": self.datasets,
        }
        return ChartSpec(htmlsafe_json_dumps(shown_values(content), dumps=json.dumps))


def _unit(layer: alt.Chart) -> dict[str, object]:
    """Return the JSON of a layer; a test validates it, because validation is slow."""
    unit: dict[str, object] = layer.to_dict(validate=False)
    return {name: value for name, value in unit.items() if name not in ("$schema", "config")}


def describe(what: str, chart: AccuracyChart) -> str:
    """Return the text of a chart for screen readers."""
    completed = len(chart.completed_points)
    words = f"{what}: {completed} completed and {len(chart.points) - completed} pruned trials"
    return f"{words}; {chart.best.headline}." if chart.best is not None else f"{words}."


def color_now(look: Look) -> str | alt.ExprRef:
    """Return a look's color; ink follows the page's light or dark mode."""
    return INK_NOW if look.color == INK else look.color


def trial_scale() -> alt.Scale:
    """Return the scale of an axis that ends a little beyond its first and last mark."""
    return alt.Scale(zero=False, nice=False, padding=14)
