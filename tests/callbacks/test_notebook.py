from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.progress import progress as progress_row
from helpers.rayless import without_ray

import dgkd_search
from dgkd_search.callbacks.events import (
    SearchFinished,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.notebook import NotebookProgress, in_notebook

EXAMPLE = Path(__file__).parents[2] / "docs" / "example.ipynb"
JOB = TrialInfo(0, ("resnet26", "resnet8"), "dense", None)


class Screen:
    """Records the latest page and the number of pages."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pages: list[str] = []
        self.progress = NotebookProgress(self.pages.append, lambda: self.now)

    @property
    def text(self) -> str:
        return re.sub(r"<[^>]+>", "", self.pages[-1])


def test_a_cell_shows_what_happened_above_what_runs() -> None:
    screen = Screen()
    screen.progress.log("preparing <digits>")
    assert "preparing &lt;digits&gt;" in screen.pages[-1]
    screen.progress.notify(SearchStarted(2, 1, None))
    screen.progress.notify(TrialStarted(JOB))
    screen.now += 1
    screen.progress.notify(TrialUpdated(JOB, progress_row(3, 91.5, epochs=12, loss=0.1)))
    assert re.search(r"#0 resnet26 &gt; resnet8 +epoch 3/12 +91.50 %", screen.text)
    screen.now += 1
    screen.progress.notify(TrialEnded(JOB, "complete", 93.25, None))
    screen.progress.notify(SearchFinished())
    assert "#0 resnet26 &gt; resnet8  complete  93.25 %" in screen.text
    assert "epoch 3/12" not in screen.text, "nothing runs any more"
    assert "1 of 2 trials" in screen.text


def test_drawing_is_bounded_in_time_and_length() -> None:
    screen = Screen()
    screen.progress.notify(SearchStarted(1000, 1, None))
    for number in range(100):
        job = TrialInfo(number, JOB.chain, "dense", None)
        screen.progress.notify(TrialStarted(job))
        screen.progress.notify(TrialEnded(job, "complete", 50.0, None))
        screen.now += 0.01
    assert len(screen.pages) < 10
    screen.progress.notify(SearchFinished())
    assert "#99 " in screen.text
    assert "#80 " not in screen.text


def test_this_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    terminal, kernel = SimpleNamespace(), SimpleNamespace(kernel=object())
    for shell, expected in ((None, False), (terminal, False), (kernel, True)):
        ipython = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert in_notebook() is expected


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [output for cell in cells for output in cell["outputs"]]


def shown_by(cells: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run a notebook's cells in this process, without Ray; return the HTML that they show."""
    progress: list[str] = []
    monkeypatch.setattr("dgkd_search.api.in_notebook", lambda: True)
    monkeypatch.setattr(
        "dgkd_search.api.NotebookProgress", lambda: NotebookProgress(progress.append)
    )
    short = functools.partial(dgkd_search.search, epochs=2, concurrency=1)
    monkeypatch.setattr(dgkd_search, "search", short)
    names: dict[str, Any] = {}
    shown = []
    with without_ray():
        for cell in cells:
            *before, last = ast.parse(cell).body
            exec(compile(ast.Module(before, []), "a cell", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "a cell", "eval"), names)
                shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else "")
            else:
                exec(compile(ast.Module([last], []), "a cell", "exec"), names)
    return [progress[-1], *shown]


@pytest.mark.e2e
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thorough: bool) -> None:
    """The example shows what it promises; with ``--thorough``, it runs in a separate kernel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if thorough:
        pages = shown_in_a_kernel(tmp_path, monkeypatch)
    else:
        cells = json.loads(EXAMPLE.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        pages = shown_by(code, monkeypatch)
    progress, summary = pages[0], pages[1]
    assert "3 of 3 trials" in re.sub(r"<[^>]+>", "", progress)
    assert "best chain" in summary
    assert "data:image/svg+xml" in summary
    assert any("val_accuracy" in page and "<table" in page for page in pages)


def shown_in_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = tmp_path / "example.ipynb"
    notebook.write_text(EXAMPLE.read_text())
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", notebook.name]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = outputs(json.loads(notebook.read_text()))
    assert [output for output in found if output["output_type"] == "error"] == []
    assert [output["text"] for output in found if output.get("name") == "stderr"] == []
    return ["".join(output.get("data", {}).get("text/html", "")) for output in found]


def test_the_example_holds_no_outputs() -> None:
    notebook = json.loads(EXAMPLE.read_text())
    assert outputs(notebook) == []
    assert all(cell["source"] for cell in notebook["cells"])


def test_a_quiet_search_stays_quiet_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgkd_search import api

    seen: list[object] = []
    monkeypatch.setattr(api, "in_notebook", lambda: True)
    monkeypatch.setattr(api, "NotebookProgress", lambda: "shown")
    monkeypatch.setattr(api, "run_search", lambda options, observer: seen.append(observer))
    monkeypatch.setattr(api, "resume_search", lambda run, options, observer: seen.append(observer))
    for quiet in (False, True):
        api.search(quiet=quiet)
        api.resume("run", quiet=quiet)
    assert seen == ["shown", "shown", None, None]
