"""The figures of the page, as Vega-Lite specifications with their data in them."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from dgkd_search.results.looks import GRAY, STATES, VERMILION, guidance_look, in_order
from dgkd_search.results.pareto import chain_of
from dgkd_search.results.plot import accuracy_limits
from dgkd_search.results.table import plottable

_GOLDEN = 0.6180339887  # its multiples modulo 1 stay apart
_CLOUD = 0.5  # width of an assistant count's points
_POINTS = 20_000  # of all curves together: more would make the page slow
_ACCURACY = "validation accuracy (%)"

_TIPS = [
    alt.Tooltip("trial:Q"),
    alt.Tooltip("chain:N"),
    alt.Tooltip("guidance:N"),
    alt.Tooltip("drop:Q", title="drop probability"),
    alt.Tooltip("accuracy:Q", title="validation (%)", format=".2f"),
    alt.Tooltip("repeats:N", title="fresh seeds"),
    alt.Tooltip("state:N"),
]


def points(table: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of each trial that ended and has an accuracy.

    Args:
        table: from ``trials_table``.
    """
    ended = pd.concat([plottable(table, "COMPLETE"), plottable(table, "PRUNED")])
    ended = ended.sort_values("number").reset_index(drop=True)
    names = [chain_of(row) for _, row in ended.iterrows()]
    mean, half = ended["repeats_mean"], ended["repeats_half_width"]
    shown = [
        "" if pd.isna(m) else f"{m:.2f}" + ("" if pd.isna(h) else f" ± {h:.2f}")
        for m, h in zip(mean, half, strict=True)
    ]
    count = ended["assistant_count"].astype(float)
    return pd.DataFrame(
        {
            "trial": ended["number"].astype(int),
            "state": ended["state"].astype(object),
            "chain": names,
            "guidance": ended["guidance"].astype(object),
            "drop": ended["drop_probability"].astype(float),
            "assistants": count,
            "place": count + _CLOUD * ((ended["number"].astype(float) * _GOLDEN) % 1 - 0.5),
            "accuracy": ended["val_accuracy"].astype(float),
            "repeats": shown,
            "mean": mean.astype(float),
            "low": (mean - half).astype(float),
            "high": (mean + half).astype(float),
        }
    )


def accuracy_chart(
    drawn: pd.DataFrame, reference: float | None, teacher: float | None
) -> dict[str, Any]:
    """Accuracy versus number of assistants; what lies far below is drawn at the edge."""
    most = int(drawn["assistants"].max()) if len(drawn) else 0
    x = alt.X(
        "place:Q",
        title="assistants",
        scale=alt.Scale(domain=[-0.5, most + 0.5], nice=False),
        axis=alt.Axis(values=list(range(most + 1)), format="d", grid=False),
    )
    domain = _limits(drawn, reference, teacher)
    y = _accuracy(domain)
    chosen = alt.selection_point(fields=["guidance"], bind="legend", name="guidance")
    dots = (
        alt.Chart(drawn)
        .mark_point(filled=True, size=70)
        .encode(
            x=x,
            y=y,
            color=_guidance_colors(drawn),
            shape=alt.Shape(
                "state:N",
                title="trial",
                scale=alt.Scale(domain=list(STATES), range=["circle", "cross"]),
            ),
            opacity=alt.when(chosen).then(alt.value(0.85)).otherwise(alt.value(0.08)),
            tooltip=_TIPS,
        )
        .add_params(chosen)
    )
    layers: list[Any] = [*_rules(reference, teacher, y, domain), dots]
    again = drawn[drawn["mean"].notna()]
    if len(again):
        bars = alt.Chart(again).mark_rule(strokeWidth=2.5).encode(x=x, y=alt.Y("low:Q"), y2="high")
        means = alt.Chart(again).mark_tick(thickness=3, size=16, orient="horizontal")
        layers += [bars, means.encode(x=x, y=alt.Y("mean:Q"), tooltip=_TIPS)]
    return _spec(alt.layer(*layers))


def history(drawn: pd.DataFrame) -> dict[str, Any]:
    """Trial after trial, with the best completed one so far."""
    complete = drawn[drawn["state"] == "COMPLETE"]
    best = complete.assign(best=complete["accuracy"].cummax())
    y = _accuracy(_limits(drawn, None, None))
    x = alt.X("trial:Q", axis=alt.Axis(format="d", tickMinStep=1))
    dots = alt.Chart(drawn).mark_point(filled=True, size=60)
    line = alt.Chart(best).mark_line(interpolate="step-after", color=VERMILION, strokeWidth=2)
    return _spec(
        alt.layer(
            dots.encode(x=x, y=y, color=_colors("state", STATES, drawn), tooltip=_TIPS),
            line.encode(x=x, y=alt.Y("best:Q")),
        )
    )


def curves(drawn: pd.DataFrame, steps: pd.DataFrame, best: int | None) -> dict[str, Any] | None:
    """The students' accuracy epoch by epoch; None where nothing was reported.

    Args:
        steps: from ``curves_of``.
        best: number of the trial that is drawn on top.
    """
    if not len(steps):
        return None
    thin = max(1, -(-len(steps) // _POINTS))
    last = steps.groupby("trial")["epoch"].transform("max")
    steps = steps[(steps["epoch"] % thin == 0) | (steps["epoch"] == last)]
    table = steps.merge(drawn[["trial", "state", "chain", "drop"]], on="trial")
    hovered = alt.selection_point(fields=["trial"], on="pointerover", empty=False, name="hovered")
    legend = alt.selection_point(fields=["state"], bind="legend", name="ended")
    width = alt.when(hovered).then(alt.value(3)).otherwise(alt.value(1.2))
    lines = (
        alt.Chart(table)
        .mark_line()
        .encode(
            x=alt.X("epoch:Q", title="epoch of the student", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("val_accuracy:Q", title=_ACCURACY, scale=alt.Scale(zero=False)),
            detail="trial:N",
            color=_colors("state", STATES, table),
            strokeWidth=width,
            opacity=alt.when(legend).then(alt.value(0.7)).otherwise(alt.value(0.05)),
            tooltip=[
                alt.Tooltip("trial:Q"),
                alt.Tooltip("chain:N"),
                alt.Tooltip("drop:Q", title="drop probability"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("val_accuracy:Q", title="validation (%)", format=".2f"),
            ],
        )
        .add_params(hovered, legend)
    )
    top = alt.Chart(table[table["trial"] == best]).mark_line(color=VERMILION, strokeWidth=2.5)
    return _spec(alt.layer(lines, top.encode(x="epoch:Q", y="val_accuracy:Q")))


def drop(drawn: pd.DataFrame) -> dict[str, Any] | None:
    """Accuracy over the drop probability; None where no student has two teachers."""
    known = drawn[drawn["drop"].notna()]
    if known["drop"].nunique() < 2:
        return None
    chart = alt.Chart(known).mark_point(filled=True, size=70, opacity=0.85)
    return _spec(
        chart.encode(
            x=alt.X("drop:Q", title="drop probability of the student"),
            y=_accuracy(_limits(known, None, None)),
            color=alt.Color("assistants:O", title="assistants", scale=alt.Scale(scheme="viridis")),
            shape=alt.Shape(
                "state:N",
                title="trial",
                scale=alt.Scale(domain=list(STATES), range=["circle", "cross"]),
            ),
            tooltip=_TIPS,
        )
    )


def cost(table: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, Any]:
    """Accuracy over what training the chain takes from nothing, for a search with both in view."""
    known = drawn.merge(table[["number", "training_tflop"]], left_on="trial", right_on="number")
    known["cost"] = known["training_tflop"].astype(float)
    chart = alt.Chart(known[known["cost"].notna()]).mark_point(filled=True, size=70)
    return _spec(
        chart.encode(
            x=alt.X("cost:Q", title="training the chain from nothing (TFLOP)"),
            y=_accuracy(_limits(drawn, None, None)),
            color=_guidance_colors(drawn),
            tooltip=[*_TIPS, alt.Tooltip("cost:Q", title="TFLOP", format=".3g")],
        )
    )


def several(drawn: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The best so far of several searches, trial after trial.

    Args:
        drawn: ``points`` of each, by the name it is shown under.
    """
    parts = []
    for name, one in drawn.items():
        complete = one[one["state"] == "COMPLETE"]
        parts.append(complete.assign(run=name, best=complete["accuracy"].cummax()))
    table = pd.concat(parts)
    line = alt.Chart(table).mark_line(interpolate="step-after", strokeWidth=2, point=True)
    return _spec(
        line.encode(
            x=alt.X("trial:Q", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y("best:Q", title=f"best {_ACCURACY}", scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", scale=alt.Scale(domain=list(drawn), scheme="tableau20")),
            tooltip=[alt.Tooltip("run:N"), *_TIPS],
        )
    )


def _limits(
    drawn: pd.DataFrame, reference: float | None, teacher: float | None
) -> tuple[float, float]:
    complete = drawn["state"] == "COMPLETE"
    low, high = accuracy_limits(
        drawn.loc[complete, "accuracy"], drawn.loc[~complete, "accuracy"], reference, teacher
    )
    low, high = min([low, *drawn["low"].dropna()]), max([high, *drawn["high"].dropna()])
    room = 0.06 * (high - low)
    return low - room, high + room


def _accuracy(domain: tuple[float, float]) -> alt.Y:
    scale = alt.Scale(domain=list(domain), clamp=True, nice=False)
    return alt.Y("accuracy:Q", title=_ACCURACY, scale=scale)


def _guidance_colors(drawn: pd.DataFrame) -> alt.Color:
    names = in_order(drawn["guidance"])
    return _colors("guidance", {name: guidance_look(name)[0] for name in names}, drawn)


def _colors(field: str, colors: dict[str, str], drawn: pd.DataFrame) -> alt.Color:
    there = [name for name in colors if (drawn[field] == name).any()]
    scale = alt.Scale(domain=there, range=[colors[name] for name in there])
    return alt.Color(f"{field}:N", title="trial" if field == "state" else field, scale=scale)


def _rules(
    reference: float | None, teacher: float | None, y: alt.Y, domain: tuple[float, float]
) -> list[Any]:
    """Lines of what trials are compared with, where they are in sight."""
    low, high = domain
    named = (("the student alone", reference), ("the teacher", teacher))
    lines: list[Any] = []
    for name, value in named:
        if value is None or not low <= value <= high:
            continue
        base = alt.Chart(pd.DataFrame({"accuracy": [value], "name": [f"{name} {value:.2f} %"]}))
        rule = base.mark_rule(color=GRAY, strokeDash=[5, 4]).encode(y=y)
        text = base.mark_text(color=GRAY, align="left", dx=4, dy=-6, x=0)
        lines.append(alt.layer(rule, text.encode(y=y, text="name:N")))
    return lines


def _spec(chart: Any) -> dict[str, Any]:
    chart = chart.properties(width="container", height=320)
    # Altair refuses more than 5,000 rows otherwise: 32 curves of 160 epochs.
    with alt.data_transformers.enable("default", max_rows=None):
        spec: dict[str, Any] = chart.to_dict()
    return spec
