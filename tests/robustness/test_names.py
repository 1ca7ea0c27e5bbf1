"""Names of any characters reach every output as harmless text, and files of settings exactly."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.progress import progress
from helpers.screens import Terminal
from helpers.summaries import SUMMARY
from helpers.tabled import texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    Message,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.json_lines import JsonLines
from dgkd_search.callbacks.lines import LineProgress
from dgkd_search.callbacks.notebook import NotebookProgress
from dgkd_search.callbacks.terminal import LiveProgress
from dgkd_search.callbacks.trackers import TrackerCallback
from dgkd_search.cli.main import main
from dgkd_search.config.yaml_file import read_config, to_yaml
from dgkd_search.data.npz import NpzDataset
from dgkd_search.errors import InputError
from dgkd_search.errors.shown import shown
from dgkd_search.results.figure_parts import draw_label, draw_titles, new_figure, write_figure
from dgkd_search.results.report.chain_diagram import Node, draw_chain
from dgkd_search.results.summary import notebook_html
from dgkd_search.results.table import csv_text
from dgkd_search.results.trial_row import TrialRow

ODD = [
    *("caf\udce9", "a\nb", "\x1b[2J\x1b]0;t\x07", "\u202egpj.exe", "\u200b", "=cmd()", "猫", "😀"),
    *("<img src=x onerror=alert(1)>", "![x](http://a.b/c)", "$x^{$", "a|b", "`", "\t", "\x9b2J"),
]
NAMES = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=[]), min_size=1))
ANY_NAME = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class _Strict(io.TextIOWrapper):
    """A standard stream that fails on characters that it lacks."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def is_safe(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def play(callback: Callback, name: str) -> None:
    """Notify of a trial whose model, and whose failure, have that name."""
    trial = TrialInfo(0, (name, "resnet8"), "dense", None)
    callback.notify(SearchStarted(2, 1, None))
    callback.notify(Message(f"note: class {name}"))
    callback.notify(TrialStarted(trial))
    callback.notify(TrialUpdated(trial, progress(1, 50.0, stage=name, position=0, stages=2)))
    callback.notify(TrialEnded(trial, "failed", None, name))


@ANY_NAME
@given(NAMES)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_lines_of_progress(encoding: str, name: str) -> None:
    stream = _Strict(encoding)
    play(LineProgress(stream), name)
    assert is_safe(stream.text())
    if encoding == "utf-8" and "\n" not in name:
        assert f"class {shown(name)}" in stream.text()


@settings(max_examples=20, deadline=None)
@given(NAMES)
def test_the_live_view_and_the_notebook(name: str) -> None:
    live = LiveProgress(Terminal(), size=(120, 20))
    trial = TrialInfo(0, (name, "resnet8"), "dense", None)
    live.state.update(SearchStarted(2, 1, None))
    live.state.update(TrialStarted(trial))
    live.state.update(TrialUpdated(trial, progress(1, 5.0, stage=name, position=0, stages=2)))
    live.notify(Message(name))
    live._console.print(live)
    drawn = live._console.file._stream.getvalue()  # type: ignore[attr-defined]
    assert is_safe(re.sub(r"\x1b\[[\d;]*m", "", drawn)), "colors are the only sequences"
    pages: list[str] = []
    notebook = NotebookProgress(pages.append)
    play(notebook, name)
    for page in pages:
        assert is_safe(page)
        assert {*re.findall(r"</?(\w+)", page)} <= {"div", "span"}


@ANY_NAME
@given(NAMES)
def test_json_is_exact_and_plain(name: str) -> None:
    out = io.StringIO()
    play(JsonLines(out), name)
    lines = out.getvalue().splitlines()
    assert out.getvalue().isascii() and is_safe(out.getvalue())
    chains = [event["trial"]["chain"] for event in map(json.loads, lines) if "trial" in event]
    assert chains and {chain[0] for chain in chains} == {name}


@ANY_NAME
@given(NAMES)
def test_tables_and_summaries(name: str) -> None:
    row = TrialRow(0, "FAIL", teacher=name, assistants=(name,), student=name, reason=name)
    assert is_safe(csv_text([row]))
    assert not re.search(r'(^|[,\n])"?[=+@-](?!\d)', csv_text([row]))
    summary = replace(SUMMARY, run=Path(name.replace("\0", "")), notes=(name,))
    assert is_safe(str(summary))
    page = notebook_html(name, Path("none"))
    assert is_safe(page) and {*re.findall(r"</?(\w+)", page)} == {"pre"}


@ANY_NAME
@given(NAMES)
def test_errors_are_one_safe_line(name: str) -> None:
    (message,) = InputError(f"class {name}: has no images; remove it").messages
    assert message.isprintable()


@ANY_NAME
@given(NAMES)
def test_the_drawing_of_a_chain(name: str) -> None:
    drawing = draw_chain([Node(name, 1, None, ()), Node("x", 1, None, (0,))], None)
    assert is_safe(drawing)
    tags = {*re.findall(r"</?(\w+)", drawing)}
    assert tags == {"svg", "defs", "marker", "path", "g", "title", "rect", "text"}


@ANY_NAME
@given(NAMES)
def test_config_yaml_is_exact(tmp_path: Path, name: str) -> None:
    path, problems = tmp_path / "config.yaml", list[str]()
    path.write_text(to_yaml({"data-dir": name, "teacher": "resnet20"}), encoding="utf-8")
    assert is_safe(path.read_text(encoding="utf-8"))
    assert read_config(path, problems) == {"data_dir": name, "teacher": "resnet20"}
    assert not problems


@pytest.mark.parametrize("name", ODD)
def test_figures(tmp_path: Path, name: str) -> None:
    def draw() -> Figure:
        figure, axes = new_figure()
        draw_titles(axes, f"resnet8 on {name}", [])
        draw_label(axes, (0.5, 0.5), f"trial {name}", "above")
        return figure

    _, svg = write_figure(draw, tmp_path, "figure")
    assert is_safe(svg.read_text(encoding="utf-8"))
    wanted = " ".join(f"trial {shown(name)}".split())
    assert wanted in [" ".join(text.split()) for text in texts(svg)]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
@pytest.mark.parametrize("json_lines", [False, True])
def test_a_dry_run_on_a_terminal_that_lacks_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, json_lines: bool
) -> None:
    rows, names = np.arange(40 * len(ODD)) % len(ODD), np.array([f"{odd}." for odd in ODD])
    path = tmp_path / "odd.npz"
    images = np.zeros((len(rows), 8, 8), np.uint8)
    np.savez(path, train_images=images, train_labels=rows, classes=names)
    assert NpzDataset(path).classes == (*names,)
    out, err = _Strict(encoding), _Strict(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    words = ["--dataset", "arrays", "--data-dir", str(path), "--dry-run"]
    assert main([*words, *(["--json"] if json_lines else [])]) == 0, err.text()
    assert is_safe(out.text())
    lines = json.loads(out.text())["lines"] if json_lines else out.text().split("\n")
    (data,) = [line for line in lines if line.startswith("data  ")]
    assert r"caf\udce9., a\nb., \x1b[2J\x1b]0;t\x07., \u202egpj.exe., \u200b., =cmd()." in data
    assert main(["plot", "caf\udce9\x1b[2J\u732b"]) == 2
    assert is_safe(err.text()) and r"caf\udce9\x1b[2J" in err.text()


@ANY_NAME
@given(NAMES)
def test_trackers_get_plain_names(name: str) -> None:
    seen: list[str] = []

    class Run:
        def __init__(self, title: str, parameters: Mapping[str, object]) -> None:
            seen.extend([title, *map(str, parameters.values())])

        def log(self, metric: str, value: float, step: int) -> None:
            seen.append(metric)
            assert re.fullmatch(r"[/\w.\- :]*", metric), "what MLflow accepts"

        def end(self, state: str, value: float | None) -> None:
            seen.append(state)

    problems: list[str] = []
    play(TrackerCallback(Run, problems.append), name)
    assert not problems
    assert all(text.isprintable() for text in seen)
