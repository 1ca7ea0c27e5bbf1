from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from helpers.tabled import best_of, make_rows, texts, trial
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from PIL import Image

from dgkd_search.results.accuracy_data import AccuracyChart, accuracy_chart
from dgkd_search.results.figure_parts import DPI, SIZE
from dgkd_search.results.plot import draw_accuracy, plot_accuracy
from dgkd_search.results.trial_row import TrialRow


def prepare(
    rows: tuple[TrialRow, ...], reference: float | None = None, teacher: float | None = None
) -> AccuracyChart:
    return accuracy_chart(rows, best=best_of(rows), reference=reference, teacher=teacher)


def draw(
    folder: Path,
    rows: tuple[TrialRow, ...],
    *,
    title: str = "a title",
    reference: float | None = None,
    teacher: float | None = None,
) -> list[str]:
    png, svg = plot_accuracy(prepare(rows, reference, teacher), folder, title=title)
    assert sorted(path.name for path in folder.iterdir()) == sorted([png.name, svg.name])
    with Image.open(png) as image:
        image.load()
        assert image.size == (round(SIZE[0] * DPI), round(SIZE[1] * DPI))
        gray = np.asarray(image.convert("L"))
    assert (gray < 128).any()
    assert (gray[:, :1] == 255).all()  # nothing is clipped at the sides
    assert (gray[:, -1:] == 255).all()
    return texts(svg)


FULL = make_rows(
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
        "labels alone",
        "95.90 %",
        "teacher",
        "98.10 %",
        "best: 97.20 %, trial 5, dense",
        "resnet26 > resnet20 > resnet14 > resnet8",
        "completed",
        "pruned (last accuracy)",
        "pruned, below the scale (count)",
        "mean per count, 95 % interval",
        "best per count",
    ):
        assert text in found, text
    # Unfinished trials are not drawn and take no room: counts 0 to 2, completed 2, 1, 2.
    assert [text for text in found if text.startswith("n = ")] == ["n = 2", "n = 1", "n = 2"]


def test_unknown_lines_are_not_drawn(tmp_path: Path) -> None:
    found = draw(tmp_path, FULL)
    assert not any("teacher" in text or "alone" in text for text in found)


def test_lines_beyond_the_scale_keep_their_label(tmp_path: Path) -> None:
    found = draw(tmp_path, FULL, reference=20.0, teacher=99.99)
    assert "labels alone ↓" in found
    assert "20.00 %" in found
    assert "teacher ↑" in found


def test_several_guidances_are_told_apart(tmp_path: Path) -> None:
    rows = [trial(2, 97.0), trial(2, 96.5, guidance="sequential"), trial(0, 96.0)]
    found = draw(tmp_path, make_rows(*rows))
    assert {"completed, dense", "completed, sequential"} <= set(found)
    assert "completed" not in found


def test_one_guidance_needs_no_name(tmp_path: Path) -> None:
    # Without assistants the table always says dense, also if the study has another guidance.
    found = draw(tmp_path, make_rows(trial(2, 97.0, guidance="sequential"), trial(0, 96.0)))
    assert "completed" in found
    assert not any(text.startswith("completed,") for text in found)


def test_collapsed_trials_go_to_the_bottom_with_their_number(tmp_path: Path) -> None:
    rows = [*(trial(1, 96 + i / 10) for i in range(8)), trial(1, 10.0), trial(1, 11.0)]
    found = draw(tmp_path, make_rows(*rows))
    assert "completed, below the scale (count)" in found
    assert "mean, below the scale (%)" in found
    assert "2" in found  # from a label: the ticks are 0 and 1
    assert "79.2" in found


def test_repeats_have_intervals_and_choose_the_best(tmp_path: Path) -> None:
    again = {"repeats": 5, "repeats_half_width": 0.2}
    rows = [
        trial(2, 99.0, repeats_mean=97.0, **again),
        trial(1, 98.0, repeats_mean=97.5, **again),
        trial(3, 98.5),
    ]
    found = draw(tmp_path, make_rows(*rows))
    assert "best: 97.50 % (mean of 5 seeds), trial 1, dense" in found
    assert "best 97.50 %" in found, "beside the star"
    assert "fresh seeds: mean, 95 % interval" in found


def test_equals_name_the_shortest_chain(tmp_path: Path) -> None:
    found = draw(tmp_path, make_rows(trial(2, 97.0), trial(0, 97.0), trial(0, 97.0)))
    assert "best: 97.00 %, trial 1, plain KD" in found
    assert "resnet26 > resnet8" in found


@pytest.mark.parametrize(
    "rows",
    [
        make_rows(),
        make_rows(trial(1, 50.0, state="PRUNED"), trial(3, 90.0, state="PRUNED")),
        make_rows(trial(1, None, state="PRUNED"), {"state": "FAIL", "assistant_count": None}),
        make_rows(trial(1, None)),
    ],
    ids=["empty", "pruned", "nothing-known", "no-accuracy"],
)
def test_without_a_completed_trial_the_figure_says_so(
    tmp_path: Path, rows: tuple[TrialRow, ...]
) -> None:
    found = draw(tmp_path, rows, reference=96.0)
    assert "no trial has completed yet" in found
    assert "labels alone" in found


def test_a_single_trial_has_no_interval_and_is_the_best(tmp_path: Path) -> None:
    found = draw(tmp_path, make_rows(trial(3, 97.0)))
    assert "best: 97.00 %, trial 0, dense" in found
    assert "n = 1" in found


def test_equal_values_and_lines(tmp_path: Path) -> None:
    rows = make_rows(*(trial(k, 100.0) for k in (0, 1, 1, 2)))
    found = draw(tmp_path, rows, reference=100.0, teacher=100.0)
    assert found.count("100.00 %") == 2
    ticks = [float(text) for text in found if text.replace(".", "").isdigit()]
    assert max(ticks) == 100.0  # the axis extends further, the numbers do not


def test_labels_alone_is_a_trial_but_no_chain(tmp_path: Path) -> None:
    row = trial(0, 95.0, guidance="none", teacher="")
    found = draw(tmp_path, make_rows(row))
    assert "completed, none" in found
    assert "resnet8" in found
    assert "mean per count, 95 % interval" not in found


def test_a_long_chain_breaks_before_a_sign(tmp_path: Path) -> None:
    names = [f"resnet{n}" for n in (110, 101, 92, 83, 74, 65, 56, 47, 38, 29, 20)]
    row = trial(0, 50.0, assistants=tuple(names), assistant_count=len(names))
    found = draw(tmp_path, make_rows(row))
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


AGAIN = {"repeats": 5, "repeats_mean": 97.0, "repeats_half_width": 0.3}
COUNTS = make_rows(
    *(trial(min(k, 3), 96 + k / 20, assistant_count=k) for k in range(11) for _ in range(2)),
    *(trial(1, 20.0, assistant_count=k) for k in range(11)),
    *(trial(1, 30.0, assistant_count=k, state="PRUNED") for k in range(11)),
)
WICKED = {"teacher": "a_$x^2$_<b>&amp;" + "_and_so_on" * 9, "student": 's"$_$<i>'}


@pytest.mark.parametrize(
    ("rows", "reference", "teacher"),
    [
        (FULL, 95.9, 96.0),
        (COUNTS, 95.9, 98.0),
        (make_rows(*(trial(k, 100.0) for k in (0, 1, 2, 3))), 100.0, 100.0),
        (make_rows(trial(3, 97.0, **AGAIN, **WICKED), trial(2, 96.9, **WICKED)), 20.0, 99.0),
        (make_rows(*(trial(1, 90.0, assistant_count=k) for k in range(41))), None, None),
    ],
    ids=["usual", "counts", "equal", "wicked", "forty"],
)
def test_no_label_hides_another(
    rows: tuple[TrialRow, ...], reference: float | None, teacher: float | None
) -> None:
    figure = draw_accuracy(prepare(rows, reference, teacher), "a long title " * 9)
    figure.draw_without_rendering()
    # Text.get_window_extent leaves out arrows, but no annotation here has one.
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in drawn]
    hidden = [
        (one, other)
        for i, (one, box) in enumerate(boxes)
        for other, its in boxes[:i]
        if min(box.x1, its.x1) - max(box.x0, its.x0) > 1
        and min(box.y1, its.y1) - max(box.y0, its.y0) > 1
    ]
    assert hidden == []
    assert len(boxes) > 8
    width, height = figure.get_size_inches() * figure.dpi
    assert all(box.x0 > 0 and box.x1 < width and box.y1 < height for _, box in boxes)


def test_the_best_is_on_top_and_larger_than_all_else() -> None:
    (axes,) = draw_accuracy(prepare(FULL, 95.9, 98.1), "t").axes
    marks = [each for each in axes.collections if isinstance(each, PathCollection)]
    (star,) = [each for each in marks if each.get_sizes()[0] > 200]
    others = [each for each in marks if each is not star]
    assert star.get_sizes()[0] > 5 * max(max(c.get_sizes(), default=0) for c in others)
    assert star.get_zorder() > max(a.get_zorder() for a in [*axes.lines, *others])
    assert np.asarray(star.get_offsets())[0, 1] == 97.2
    assert np.max(star.get_linewidth()) > 1, "an outline, which gray print keeps"
