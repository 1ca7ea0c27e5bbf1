from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.tabled import best_of, make_rows, texts
from matplotlib.text import Text

from dgkd_search.results.accuracy_data import accuracy_chart
from dgkd_search.results.cost_data import CostChart, cost_chart
from dgkd_search.results.plot_cost import draw_cost, plot_pareto


def prepare(*trials: tuple[float, float | None], **more: Any) -> CostChart:
    rows = make_rows(
        *({"val_accuracy": accuracy, "training_tflop": cost} | more for accuracy, cost in trials)
    )
    chart = accuracy_chart(rows, best=best_of(rows), reference=None, teacher=None)
    return cost_chart(rows, chart)


def test_the_figure_names_the_front(tmp_path: Path) -> None:
    chart = prepare((90.0, 5.0), (95.0, 9.0), (89.0, 7.0))
    png, svg = plot_pareto(chart, tmp_path, "student on data")
    found = texts(svg)
    assert png.stat().st_size > 1000
    for text in ("student on data", "trial 0", "best 95.00 %", "validation accuracy (%)"):
        assert text in found
    assert "trial 2" not in found
    before = svg.read_bytes()
    plot_pareto(chart, tmp_path, "student on data")
    assert svg.read_bytes() == before


@pytest.mark.parametrize("count", [1, 2, 40])
def test_labels_of_the_front_do_not_overlap(count: int) -> None:
    chart = prepare(*((90 + i**0.5, 5.0 + i) for i in range(count)))
    figure = draw_cost(chart, "t")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert boxes
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert sum(label.best for label in chart.labels) == 1


def test_without_a_known_cost_the_figure_says_so(tmp_path: Path) -> None:
    _, svg = plot_pareto(prepare((90.0, None)), tmp_path, "t")
    assert "no trial has completed yet" in texts(svg)
