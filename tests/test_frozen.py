"""Run folders and stores that earlier versions wrote: they load, or are refused by name.

``tests/frozen/make.py`` makes such an archive, once for each format.
"""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import pytest
import yaml

from dgkd_search import load_student
from dgkd_search.cli import main

FROZEN = Path(__file__).parent / "frozen"


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
    assert "run is finished; its results are written again" in err
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
