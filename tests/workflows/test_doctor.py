from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

from dgkd_search.cli.main import main
from dgkd_search.workflows import doctor
from dgkd_search.workflows.doctor import Finding, examine


def found(store: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(store, ray=False)}


def test_a_sound_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", str(tmp_path / "store"), "--no-ray"]) == 0
    out = capsys.readouterr().out
    for words in (
        f"torch {torch.__version__.split('+')[0]}",
        "CPU ",
        "trials at once",
        " free on its disk",
    ):
        assert words in out
    assert out.endswith("no problems found\n")
    assert not (tmp_path / "store").exists(), "nothing is made by looking"


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.6", "optuna<2", 'onnx>=1.17; extra == "export"', "pandas>=2.2"]
    monkeypatch.setattr(doctor, "requires", lambda name: lines)

    def known(name: str) -> str:
        if name in ("pandas", "onnx"):
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", known)
    findings = found(tmp_path)
    assert "pandas>=2.2" in findings["packages"].problem
    assert f"optuna<2 (found {version('optuna')})" in findings["packages"].problem
    assert "torch" not in findings["packages"].problem
    assert findings["extra export"].problem == "", "nobody need have it"
    assert "pip install 'dgkd-search[export]'" in findings["extra export"].words


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LEAST_ROOM", 2**60)
    assert "store --free" in found(tmp_path)["store"].problem


def test_a_place_where_nothing_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", "/proc/store", "--no-ray"]) == 1
    out = capsys.readouterr().out
    assert "problem: /proc is not writable" in out
    assert out.endswith("1 problem found\n")


def test_ray_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(resources: object) -> None:
        raise OSError("no room\nin /tmp")

    monkeypatch.setattr("dgkd_search.study.ray_tune.ray_session.ray_session", fail)
    assert doctor._ray().problem == "OSError: no room in /tmp"
