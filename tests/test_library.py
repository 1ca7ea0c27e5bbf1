from __future__ import annotations

from pathlib import Path

import pytest
from helpers.shipped import make_run

import dgkd_search
from dgkd_search.errors import InputError


def test_a_student_is_trained_and_exported_from_python(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lines: list[str] = []
    found = dgkd_search.train(run.path, repeats=1, tell=lines.append, store=str(tmp_path / "store"))
    assert found.folders == (run.path / "trained" / "repeat-1",)
    assert len(found.tests) == 1
    assert any("repeat 1 of 1" in line for line in lines)
    files = dgkd_search.export_student(found.folders[0], tmp_path / "ship", formats=[])
    assert tmp_path / "ship" / "student.safetensors" in files
    assert dgkd_search.load_student(tmp_path / "ship").classes == tuple("0123456789")


def test_methods_are_compared_from_python(tmp_path: Path) -> None:
    found = dgkd_search.compare_methods(
        ["resnet14", "resnet8"],
        repeats=2,
        store=str(tmp_path / "store"),
        dataset="digits",
        train_limit=60,
        epochs=1,
        batch_size=32,
    )
    assert {name: len(runs) for name, runs in found.items()} == {"NOKD": 2, "KD": 2}


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="repeats 0"):
        dgkd_search.train(tmp_path, repeats=0)
    with pytest.raises(InputError, match="--formats tflite: unknown; choose from torch, onnx"):
        dgkd_search.export_student(tmp_path, tmp_path / "ship", formats=["tflite"])
    with pytest.raises(InputError, match="must be a list"):
        dgkd_search.compare_methods("resnet14,resnet8")
    with pytest.raises(InputError, match="runs: missing; name at least one"):
        dgkd_search.write_report()


def test_earlier_names_of_arguments_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgkd_search import api

    watched: list[object] = []
    monkeypatch.setattr(api, "run_search", lambda _, callback: watched.append(callback))
    monkeypatch.setattr(api, "resume_search", lambda *arguments: watched.append(arguments[2]))
    observer = dgkd_search.Observer()
    for options in ({"observer": observer}, {"callback": observer, "observer": None}):
        dgkd_search.search(**options)
        dgkd_search.resume("run", **options)
    assert watched == [observer] * 4
    with pytest.raises(InputError, match="observer: is the earlier name of callback"):
        dgkd_search.search(callback=observer, observer=observer)
    with pytest.raises(InputError, match="tell: is the earlier name of log"):
        dgkd_search.compare_methods(["resnet14", "resnet8"], log=print, tell=print)
