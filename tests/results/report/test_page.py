from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import vl_convert
from helpers.shipped import make_run
from helpers.studies import make_config, make_study, run_trials

from dgkd_search.cli.main import main
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data.config import DataConfig
from dgkd_search.results.best import load_best
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.figures import study_title
from dgkd_search.results.report.content import RunReport
from dgkd_search.results.report.page import render_report
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.study import ChainStudy
from dgkd_search.workflows.resume import create_study

WICKED = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def bundled_once() -> Iterator[None]:
    """Build the script of the figures once; it takes seconds and is always the same."""
    with pytest.MonkeyPatch.context() as patch:
        bundle = functools.cache(vl_convert.javascript_bundle)
        patch.setattr(vl_convert, "javascript_bundle", bundle)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def study() -> ChainStudy:
    study = make_study(pruner="median")
    run_trials(study, 12)
    proposal = study.ask()
    assert proposal is not None
    study.fail(proposal.number, WICKED + "\x1b[2J\u202e\udce9")
    return study


@pytest.fixture(scope="module")
def page(run: RunFolder, study: ChainStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report([run], tmp_path_factory.mktemp("page") / "report.html", study)


def test_the_page_tells_what_was_found(page: Path, run: RunFolder) -> None:
    text = page.read_text()
    for words in (
        "resnet8 on digits",
        "resnet20 &gt; resnet14 &gt; resnet8  (dense, drop 0.25, trial 3)",
        "61.50 % (test set read once)",
        "over labels alone (50.00)",
        f"dgkd-search train {run.path}/best.yaml",
        "Accuracy and number of assistants",
        "Learning curves",
        "Drop probability",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("dataset", "place", "name"),
    [
        ("imagefolder", "/data/photos.v2", "photos.v2"),
        ("arrays", "/data/mine.v2.npz", "mine.v2"),
        ("digits", None, "digits"),
        ("cifar10", "/data", "cifar10"),
    ],
)
def test_a_search_is_called_after_its_data(dataset: str, place: str | None, name: str) -> None:
    config = make_config(data=DataConfig(dataset, place))
    assert study_title(config) == f"resnet8 on {name}"


def test_the_page_asks_no_network_for_anything(page: Path) -> None:
    text = re.sub(r"(<script>).*?(</script>)", r"\1\2", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", text)
    assert "default-src 'none'" in text, "nor would a browser let its scripts"


def test_what_comes_from_outside_is_no_markup(page: Path) -> None:
    text = page.read_text()
    assert WICKED not in text
    assert "&lt;img src=x onerror" in text
    assert r"\x1b[2J\u202e\udce9" in text
    plain = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert all(line.isprintable() for line in plain.split("\n"))


def test_before_the_end_there_is_a_page_without_a_best_student(
    study: ChainStudy, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    text = render_report([run], run.report, study).read_text()
    assert "the search has not ended" in text
    assert f"dgkd-search --resume {run.path}" in text


def test_a_study_without_any_trial_has_a_page(run: RunFolder, tmp_path: Path) -> None:
    empty = RunFolder(tmp_path / "run")
    empty.path.mkdir()
    assert (
        "the search has not ended" in render_report([empty], empty.report, make_study()).read_text()
    )


def test_searches_on_other_data_are_not_to_be_compared(tmp_path: Path) -> None:
    told = []
    for data in ("a" * 32, "b" * 32):
        runs = []
        for name, its in (("one", "a" * 32), ("two", data)):
            options = resolve(parse_options({"epochs": 4, "budget": 2, "pruner": "none"}))
            folder = RunFolder(tmp_path / data[0] / name)
            with folder.begin():
                run_trials(
                    create_study(folder, options.config, SearchDefinition.of(options.options, its)),
                    2,
                )
                folder.keep()
            runs.append(folder)
        page = render_report(runs, tmp_path / f"{data[0]}.html")
        told.append("used different data" in page.read_text())
    assert told == [False, True]


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert main(["report"]) == 2


CHECK = """
<script>
const overlaps = () => [...document.querySelectorAll(".figure")].flatMap((figure) => {
  const frame = figure.getBoundingClientRect(), found = [];
  const boxes = [...figure.querySelectorAll("svg text")]
    .filter((text) => text.textContent && !text.getAttribute("stroke")  // a halo is no label
      && getComputedStyle(text).opacity !== "0")
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  boxes.forEach(([text, a], i) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1) found.push([text, "sticks out"]);
    for (const [other, b] of boxes.slice(0, i))
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
          Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2) found.push([text, other]);
  });
  return found;
});
addEventListener("load", () => setTimeout(() => {
  const table = document.querySelector("table.trials");
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const head = [...table.tHead.rows[0].cells].find((c) => c.textContent.trim() === "validation");
  const found = { title: document.title, before: order(),
    figures: [...document.querySelectorAll(".figure")].map(
      (figure) => figure.querySelectorAll("svg path").length),
    overlaps: overlaps(),
    wide: document.documentElement.scrollWidth <= innerWidth };
  head.firstElementChild.click();
  found.up = order(); found.sort = head.getAttribute("aria-sort");
  head.firstElementChild.click();
  found.down = order();
  const out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
}, 2000));
</script></body>
"""


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1200, 360])
def test_in_a_browser(page: Path, study: ChainStudy, tmp_path: Path, width: int) -> None:
    copy = tmp_path / "report.html"
    before, _, after = page.read_text().rpartition("</body>")
    # A browser window is at least 500 pixels wide.
    narrow = f"<style>body {{ max-width: {width}px }}</style>" if width < 500 else ""
    copy.write_text(before.replace("</head>", f"{narrow}</head>", 1) + CHECK + after)
    command = f"""chromium --headless --no-sandbox --disable-gpu --disable-background-networking
        --disable-component-update --disable-sync --no-first-run --user-data-dir={tmp_path}/user
        --window-size={width},900 --enable-logging=stderr --virtual-time-budget=20000
        --dump-dom file://{copy}"""
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=120, check=False)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert match is not None, done.stdout[-500:]
    found = json.loads(match[1])
    assert found["title"] == "resnet8 on digits · dgkd-search", "nobody has taken the page over"
    assert found["wide"], "nothing sticks out"
    assert found["overlaps"] == []
    assert len(found["figures"]) == 4
    assert all(count > 10 for count in found["figures"]), found["figures"]
    assert found["before"] == [str(trial.number) for trial in study.trials]
    values = {str(t.number): t.value for t in study.trials if t.value is not None}
    known = sorted(values, key=lambda number: values[number])
    assert [values[n] for n in found["up"][:-1]] == [values[n] for n in known]
    assert [values[n] for n in found["down"][:-1]] == [values[n] for n in reversed(known)]
    assert found["up"][-1] == found["down"][-1] == "12", "the failed trial has no value"
    assert found["sort"] == "ascending"


def test_a_retrained_student_in_the_place_of_the_best_has_a_page(
    run: RunFolder, study: ChainStudy
) -> None:
    found = load_best(run.best)
    best = found.retrained_as(1, found.stages, found.data)
    rows = dict(RunReport("first", run, study, best).headline())
    assert rows["validation"] == "not measured"
    assert rows["best chain"]


def test_commands_can_be_typed_as_they_stand(run: RunFolder, study: ChainStudy) -> None:
    found = load_best(run.best)
    best = replace(found, options={**(found.options or {}), "models": "mymodels"})
    folder = RunFolder(Path("my runs/first"))
    told = dict(RunReport("first", folder, study, best).commands())
    assert told["Train the best chain on training and validation images, three times:"] == (
        "dgkd-search train 'my runs/first/best.yaml' --models mymodels"
    )
    assert "--resume 'my runs/first' --budget" in told["Extend the search:"]
