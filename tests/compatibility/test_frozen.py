"""Run folders and stores of earlier versions load, or are refused with a clear message.

``frozen/make.py`` makes such archives, once for each format and before names move.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import yaml
from helpers.searches import WITHOUT_RAY
from packaging.version import Version

from dgkd_search import load_run, load_student
from dgkd_search.cli.main import main
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.yaml_file import read_config, to_yaml_values
from dgkd_search.results.best import load_best

FROZEN = Path(__file__).parent / "frozen"

# Where the archive is now; its files contain the paths where it was made.
PLACES = ("--store", "store", "--teacher-weights", "teacher.safetensors")
# Values that newer options have in an older archive.
SINCE = {"loss": "kl"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    with tarfile.open(FROZEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "run"


@pytest.mark.parametrize("old", ["format-1"], indirect=True)
def test_a_run_of_this_format_loads(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = yaml.safe_load((old / "best.yaml").read_text())
    assert len(load_student(old).classes) == 10
    weights = (old / "student.safetensors").read_bytes()
    assert main(["plot", "run"]) == 0
    assert main(["store", "--store", "store", "--verify"]) == 0
    capsys.readouterr()
    assert main(["--resume", "run", "--store", "store", "--dry-run"]) == 0
    assert "trials so far: 1 COMPLETE" in capsys.readouterr().out
    assert main(["--resume", "run", "--store", "store"]) == 0
    out, err = capsys.readouterr()
    assert "run is finished; rewriting its results" in err
    assert "damaged" not in err
    assert "1 of 1: 1 completed" in out
    again = yaml.safe_load((old / "best.yaml").read_text())
    assert again["stages"] == best["stages"], "its keys mean the same"
    assert (again["test_accuracy"], again["test_reads"]) == (best["test_accuracy"], 1)
    assert (old / "student.safetensors").read_bytes() == weights
    with (old / "trials.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["state"] == "COMPLETE"


@pytest.mark.parametrize("old", ["format-0"], indirect=True)
def test_a_run_from_before_resuming_is_refused_and_its_student_loads(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (old / "study.db").read_bytes()
    assert len(load_student(old).classes) == 10
    for words in (["--resume", "run"], ["--resume", "run", "--dry-run"], ["plot", "run"]):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "was made by another version" in line
    assert (old / "study.db").read_bytes() == before
    assert main(["store", "--store", "store"]) == 0, "stages are still read"


LATER = pytest.mark.later
# Archives with a finished and a stopped run, their store and students, oldest first: ``make.py``.
WORLDS = ("version-0.1.0", "definition-2", "best-3", "names-4")
# Tests use the oldest archive, quick ones also the newest; with ``--thorough`` the others too.
EACH = pytest.mark.parametrize(
    "world",
    [WORLDS[0], *(pytest.param(name, marks=LATER) for name in WORLDS[1:-1]), WORLDS[-1]],
    indirect=True,
)
OLDEST = pytest.mark.parametrize(
    "world",
    [WORLDS[0], *(pytest.param(name, marks=LATER) for name in WORLDS[1:])],
    indirect=True,
)


@pytest.fixture
def world(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    thorough: bool,
) -> Path:
    if request.node.get_closest_marker("later") and not thorough:
        pytest.skip("another archive; pytest --thorough")
    with tarfile.open(FROZEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path


def stages() -> dict[str, bytes]:
    """Return the description of each finished stage, which includes the time of training."""
    return {path.parent.name: path.read_bytes() for path in Path("store").glob("stages/*/*/*.json")}


def rows(run: str) -> list[dict[str, str]]:
    with Path(run, "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def untouched(before: dict[str, bytes]) -> bool:
    """Return whether no earlier stage is damaged or was trained again."""
    now = stages()
    return not [*Path().rglob("damaged")] and all(now[key] == said for key, said in before.items())


def search(*words: str, ray: bool) -> str:
    """Run a search in a new process, with or without Ray; return its output."""
    program = ["-m", "dgkd_search"] if ray else [str(WITHOUT_RAY)]
    found = subprocess.run(
        [sys.executable, *program, *words, *PLACES],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "damaged" not in found.stderr
    return found.stdout


def pictures() -> torch.Tensor:
    """Return images whose pixels are computed from their position."""
    return (torch.arange(64 * 64).square() // 7 % 256).reshape(64, 1, 8, 8).float()


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(pictures())
    return logits


@EACH
def test_a_finished_run_is_read(
    world: Path, thorough: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stages()
    found = load_run("run")
    assert found.trials["state"].tolist() == ["COMPLETE"] * 3
    assert found.trials["guidance"].tolist() == ["dense", "dense", "sequential"]
    assert found.trials["drop_probability"].tolist()[1] == 0.25
    assert found.curves["epoch"].tolist() == [1, 2] * 3
    assert found.best is not None
    assert found.best == load_best("run") == load_best("run/best.yaml")
    assert found.best["assistants"] == ["plain4-c10"]
    assert found.best["confirmation"]["whole"]
    assert found.best["stages"][0]["given"]
    assert len(load_student("run").classes) == 10
    assert {stage["key"] for stage in found.best["stages"]} <= before.keys()
    stopped = load_run("stopped")
    assert stopped.trials["state"].tolist() == ["COMPLETE", "RUNNING"]
    assert stopped.best is None
    for command in (
        ["plot", "run"],
        ["report", "run"],
        *([["plot", "stopped"], ["report", "run", "stopped"]] if thorough else []),
        ["store", "--store", "store"],
        ["store", "--store", "store", "--verify"],
    ):
        assert main(command) == 0, command
    assert "no damage found" in capsys.readouterr().out
    assert Path("run/report.html").stat().st_size > 100_000
    assert untouched(before)


@EACH
@pytest.mark.parametrize("run", ["run", "stopped"])
def test_what_defines_a_run_is_taken_as_options(
    world: Path, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = yaml.safe_load(Path(run, "config.yaml").read_text())
    # The current spelling; the former one stays an alias.
    said["normalize"] = said.pop("normalise", said.get("normalize"))
    assert said["normalize"] == "train"
    assert main(["--config", f"{run}/config.yaml", "--dry-run", *PLACES]) == 0
    again = to_yaml_values(parse_options(read_config(Path(run, "config.yaml"), [])))
    assert again == {**SINCE, **said}
    capsys.readouterr()
    assert main(["--resume", run, "--dry-run", *PLACES]) == 0
    done = {"run": "3 COMPLETE", "stopped": "1 COMPLETE, 1 RUNNING"}[run]
    assert f"trials so far: {done}" in capsys.readouterr().out


def test_every_option_keeps_its_name_and_its_values() -> None:
    """``options.yaml`` sets each option of version 0.1.0, nearly all to other than defaults."""
    file = FROZEN / "options.yaml"
    options = parse_options(read_config(file, []))
    said = yaml.safe_load(file.read_text())
    said["normalize"] = said.pop("normalise")
    elsewhere = {name: said.pop(name) for name in ("out", "quiet", "json", "dry-run")}
    assert to_yaml_values(options) == {**SINCE, **said}
    now = {"out": options.out, "quiet": options.quiet, "json": options.json}
    assert {**now, "dry-run": options.dry_run} == elsewhere


@EACH
def test_a_finished_run_is_written_again(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, best, table = stages(), load_best("run"), rows("run")
    weights = Path("run/student.safetensors").read_bytes()
    assert main(["--resume", "run", *PLACES]) == 0
    out, err = capsys.readouterr()
    assert "run is finished; rewriting its results" in err
    assert "3 of 3: 3 completed" in out
    again = load_best("run")
    same = ("stages", "test_accuracy", "test_reads", "comparison", "confirmation", "data")
    assert {name: again[name] for name in same} == {name: best[name] for name in same}
    options = best["options"]
    options["normalize"] = options.pop("normalise", options.get("normalize"))  # today's spelling
    assert again["options"] == {**SINCE, **options}
    assert again["test_reads"] == 1
    assert Path("run/student.safetensors").read_bytes() == weights
    assert rows("run") == table
    assert untouched(before)


@EACH
def test_a_student_is_exported_anew(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target, formats in (("again", "torch"), ("exported", "none")):  # new, and existing
        words = ["export", "run", "--to", target, "--formats", formats, "--store", "store"]
        assert main(words) == 0
        for name in ("student.safetensors", "best.yaml"):
            assert Path(target, name).read_bytes() == Path("run", name).read_bytes()
    assert Path("again/student.pt2").exists()


@EACH
def test_an_exported_student_works(world: Path) -> None:
    student = load_student("exported")
    expected = logits_of(student)
    assert torch.equal(expected, logits_of(load_student("run")))
    session = onnxruntime.InferenceSession("exported/student.onnx")
    (logits,) = session.run(None, {"images": pictures().numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-3)
    made_by = Version(load_best("exported")["versions"]["torch"]).release
    if Version(torch.__version__).release < made_by:
        pytest.skip("torch reads no programs of later versions")
    program = torch.export.load("exported/student.pt2").module()
    torch.testing.assert_close(logits_of(program), expected, rtol=1e-3, atol=1e-3)


@EACH
def test_a_chain_is_not_trained_again(
    world: Path, thorough: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stages()
    folder = Path("trained/repeat-1")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = ["train", "run/best.yaml", "--repeats", "1", *PLACES, "--out"]
    assert main([*words, "trained"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert main([*words, "afresh"]) == 0
    name = "student.safetensors"
    assert Path("afresh/repeat-1", name).read_bytes() == files[name], "found in the store"
    tests = [load_best(place)["test_accuracy"] for place in ("afresh/repeat-1", folder)]
    assert tests[0] == pytest.approx(tests[1], abs=1), "last bits may turn an image or two"
    assert len(load_student(folder).classes) == 10
    assert stages() == before
    if thorough:
        words[3] = "2"
        assert main([*words, "trained"]) == 0
        assert len(load_student("trained/repeat-2").classes) == 10
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
        new = stages().keys() - before.keys()
        assert len(new) == 2, "an assistant and a student; the teacher was given"
        assert main(["export", "trained/repeat-2", "--to", "other", "--store", "store"]) == 0
    assert untouched(before)


@OLDEST
@pytest.mark.e2e
def test_a_finished_run_gets_another_trial(world: Path, thorough: bool) -> None:
    before, table = stages(), rows("run")
    out = search("--resume", "run", "--budget", "4", ray=thorough)
    assert "4 of 4: " in out
    now = rows("run")
    assert [row["student_key"] for row in now[:3]] == [row["student_key"] for row in table]
    assert [row["val_accuracy"] for row in now[:3]] == [row["val_accuracy"] for row in table]
    assert now[3]["student_key"] not in before
    assert now[3]["state"] == "PRUNED" or now[3]["student_key"] in stages()
    assert len(load_student("run").classes) == 10
    assert load_best("run")["test_reads"] == 1
    assert untouched(before)


@OLDEST
@pytest.mark.e2e
def test_a_stopped_run_goes_on(world: Path, thorough: bool) -> None:
    before = stages()
    (partial,) = Path("store/partial").iterdir()
    checkpoint: dict[str, Any] = json.loads((partial / "checkpoint.json").read_text())
    assert len(checkpoint["rows"]) < checkpoint["spec"]["recipe"]["epochs"]
    first, adopted = rows("stopped")
    assert (first["state"], adopted["state"]) == ("COMPLETE", "RUNNING")
    search("--resume", "stopped", ray=thorough)
    now = rows("stopped")
    assert [row["state"] for row in now] == ["COMPLETE"] * 3
    assert now[0] == first
    told = ("number", "assistants", "guidance", "drop_probability", "started")
    assert [now[1][name] for name in told] == [adopted[name] for name in told]
    assert now[1]["student_key"] == checkpoint["key"]
    done = json.loads(stages()[checkpoint["key"]])
    assert done["spec"] == checkpoint["spec"]
    assert len(done["rows"]) == checkpoint["spec"]["recipe"]["epochs"]
    assert done["rows"][: len(checkpoint["rows"])] == checkpoint["rows"], "seconds and all"
    assert not partial.exists()
    curves = load_run("stopped").curves
    assert curves[curves["trial"] == 1]["epoch"].tolist() == [row["epoch"] for row in done["rows"]]
    assert load_best("stopped")["test_reads"] == 1
    assert untouched(before)
