from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from helpers.tabled import make_table, texts, trial
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dgkd_search.results.plot import DPI, SIZE, accuracy_limits, plot_accuracy

_PERCENT = st.floats(0, 100)


def draw(
    folder: Path,
    table: pd.DataFrame,
    *,
    title: str = "a title",
    reference: float | None = None,
    teacher: float | None = None,
) -> list[str]:
    png, svg = plot_accuracy(table, folder, title=title, reference=reference, teacher=teacher)
    assert sorted(path.name for path in folder.iterdir()) == sorted([png.name, svg.name])
    with Image.open(png) as image:
        image.load()
        assert image.size == (round(SIZE[0] * DPI), round(SIZE[1] * DPI))
        gray = np.asarray(image.convert("L"))
    assert (gray < 128).any()
    assert (gray[:, :1] == 255).all()  # nothing is cut off at the sides
    assert (gray[:, -1:] == 255).all()
    return texts(svg)


FULL = make_table(
    trial(0, 96.1),
    trial(0, 96.4),
    trial(1, 96.8),
    trial(1, 40.0, state="PRUNED"),
    trial(1, 96.2, state="PRUNED"),
    trial(2, 97.2),
    trial(2, 97.0),
    trial(3, 60.0, state="RUNNING"),
)


def test_the_figure_says_what_it_shows(tmp_path: Path) -> None:
    found = draw(tmp_path, FULL, title="DGKD on $digits", reference=95.9, teacher=98.1)
    for text in (
        "DGKD on $digits",
        "number of assistants (n = completed trials)",
        "validation accuracy (%)",
        "student alone",
        "95.90 %",
        "teacher",
        "98.10 %",
        "best: 97.20 %, trial 5, dense",
        "resnet26 > resnet20 > resnet14 > resnet8",
        "completed",
        "pruned (last accuracy)",
        "pruned, below the scale (number)",
        "mean with 95% t-interval",
        "best of each count",
    ):
        assert text in found, text
    # Trials that didn't end are no points and take no room: counts 0 to 2, completed 2, 1, 2.
    assert [text for text in found if text.startswith("n = ")] == ["n = 2", "n = 1", "n = 2"]


def test_unknown_lines_are_not_drawn(tmp_path: Path) -> None:
    found = draw(tmp_path, FULL)
    assert not any("teacher" in text or "alone" in text for text in found)


def test_lines_beyond_the_scale_keep_their_label(tmp_path: Path) -> None:
    found = draw(tmp_path, FULL, reference=20.0, teacher=99.99)
    assert "student alone ↓" in found
    assert "20.00 %" in found
    assert "teacher ↑" in found


def test_several_guidances_are_told_apart(tmp_path: Path) -> None:
    rows = [trial(2, 97.0), trial(2, 96.5, guidance="sequential"), trial(0, 96.0)]
    found = draw(tmp_path, make_table(*rows))
    assert {"completed, dense", "completed, sequential"} <= set(found)
    assert "completed" not in found


def test_one_guidance_needs_no_name(tmp_path: Path) -> None:
    # Without assistants the table says dense, whatever the study's only guidance is.
    found = draw(tmp_path, make_table(trial(2, 97.0, guidance="sequential"), trial(0, 96.0)))
    assert "completed" in found
    assert not any(text.startswith("completed,") for text in found)


def test_collapsed_trials_go_to_the_bottom_with_their_number(tmp_path: Path) -> None:
    rows = [*(trial(1, 96 + i / 10) for i in range(8)), trial(1, 10.0), trial(1, 11.0)]
    found = draw(tmp_path, make_table(*rows))
    assert "completed, below the scale (number)" in found
    assert "mean, below the scale (%)" in found
    assert "2" in found  # no such tick: the counts are 0 and 1
    assert "79.2" in found


def test_repeats_have_intervals_and_choose_the_best(tmp_path: Path) -> None:
    again = {"repeats": 5, "repeats_half_width": 0.2}
    rows = [
        trial(2, 99.0, repeats_mean=97.0, **again),
        trial(1, 98.0, repeats_mean=97.5, **again),
        trial(3, 98.5),
    ]
    found = draw(tmp_path, make_table(*rows))
    assert "best: 97.50 % (mean of 5 seeds), trial 1, dense" in found
    assert "taught again: mean with 95% t-interval" in found


def test_equals_name_the_shortest_chain(tmp_path: Path) -> None:
    found = draw(tmp_path, make_table(trial(2, 97.0), trial(0, 97.0), trial(0, 97.0)))
    assert "best: 97.00 %, trial 1, plain KD" in found
    assert "resnet26 > resnet8" in found


@pytest.mark.parametrize(
    "table",
    [
        make_table(),
        make_table(trial(1, 50.0, state="PRUNED"), trial(3, 90.0, state="PRUNED")),
        make_table(trial(1, None, state="PRUNED"), {"state": "FAIL", "assistant_count": None}),
        make_table(trial(1, None)),
    ],
    ids=["empty", "pruned", "nothing-known", "no-accuracy"],
)
def test_without_a_completed_trial_the_figure_says_so(tmp_path: Path, table: pd.DataFrame) -> None:
    found = draw(tmp_path, table, reference=96.0)
    assert "no trial has completed yet" in found
    assert "student alone" in found


def test_a_single_trial_has_no_interval_and_is_the_best(tmp_path: Path) -> None:
    found = draw(tmp_path, make_table(trial(3, 97.0)))
    assert "best: 97.00 %, trial 0, dense" in found
    assert "n = 1" in found


def test_equal_values_and_lines(tmp_path: Path) -> None:
    table = make_table(*(trial(k, 100.0) for k in (0, 1, 1, 2)))
    found = draw(tmp_path, table, reference=100.0, teacher=100.0)
    assert found.count("100.00 %") == 2
    ticks = [float(text) for text in found if text.replace(".", "").isdigit()]
    assert max(ticks) == 100.0  # the axis goes on, its numbers don't


def test_labels_alone_is_a_trial_but_no_chain(tmp_path: Path) -> None:
    row = trial(0, 95.0, guidance="none", teacher="")
    found = draw(tmp_path, make_table(row))
    assert "completed, none" in found
    assert "resnet8" in found
    assert "mean with 95% t-interval" not in found


def test_a_long_chain_breaks_before_a_sign(tmp_path: Path) -> None:
    names = [f"resnet{n}" for n in (110, 101, 92, 83, 74, 65, 56, 47, 38, 29, 20)]
    row = trial(0, 50.0, assistants=">".join(names), assistant_count=len(names))
    found = draw(tmp_path, make_table(row))
    assert sum(text.startswith("> resnet") for text in found) >= 1
    assert " ".join(names) in " ".join(found).replace("> ", "")


def test_the_svg_is_the_same_each_time_whatever_the_user_prefers(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    draw(folders[0], FULL, reference=96.0)
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "path"}):
        draw(folders[1], FULL, reference=96.0)
        assert matplotlib.rcParams["lines.linewidth"] == 9
    first, second = ((folder / "accuracy_vs_assistants.svg").read_bytes() for folder in folders)
    assert first == second


def test_no_global_figure_is_left(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw(tmp_path, FULL)
    assert plt.get_fignums() == before


@settings(deadline=None)
@given(
    st.lists(_PERCENT, max_size=10),
    st.lists(_PERCENT, max_size=10),
    st.none() | _PERCENT,
    st.none() | _PERCENT,
)
def test_limits_show_the_best_and_most_trials(
    completed: list[float], pruned: list[float], reference: float | None, teacher: float | None
) -> None:
    low, high = accuracy_limits(completed, pruned, reference, teacher)
    assert math.isfinite(low)
    assert high - low >= 1 - 1e-9
    assert max([*completed, *pruned], default=high) <= high
    assert sum(value >= low for value in completed) >= len(completed) / 2


def test_limits_ignore_what_would_squash_the_trials() -> None:
    completed = [96.0, 96.2, 96.4, 96.6, 96.8, 97.0, 10.0]
    assert accuracy_limits(completed, [95.9, 30.0], None, None) == (95.9, 97.0)
    assert accuracy_limits(completed, [], None, 97.5) == (96.0, 97.5)
    assert accuracy_limits(completed, [], None, 99.5) == (96.0, 97.0)
    assert accuracy_limits(completed, [], 94.5, None) == (94.5, 97.0)
    assert accuracy_limits(completed, [], 60.0, None) == (96.0, 97.0)
