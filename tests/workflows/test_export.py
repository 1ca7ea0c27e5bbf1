from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.shipped import make_run

from dgkd_search.data import load_test
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError
from dgkd_search.results.best import load_best, load_student, write_best
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.training.losses.base import LossSpec
from dgkd_search.workflows.export import export_run
from dgkd_search.workflows.export_forms import FORMS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("product"))


@pytest.fixture(scope="module")
def place(run: RunFolder) -> dict[str, str]:
    return {"store": str(run.path.parent / "store")}


@pytest.fixture(scope="module")
def shipped(run: RunFolder, place: dict[str, str]) -> Path:
    target = run.path.parent / "shipped"
    written = export_run(run.path, target, overrides=place)
    assert {path.name for path in written} == {path.name for path in target.iterdir()}
    return target


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(load_test(DataConfig("digits")).images).float()


def test_every_form_is_written(shipped: Path) -> None:
    assert {path.name for path in shipped.iterdir()} == {
        "README.md",
        "best.yaml",
        "student.onnx",
        "student.pt2",
        "student.safetensors",
    }


def test_the_onnx_student_predicts_what_the_model_does(shipped: Path, images: torch.Tensor) -> None:
    session = onnxruntime.InferenceSession(shipped / "student.onnx")
    with torch.no_grad():
        expected = load_student(shipped)(images).numpy()
    for batch in (1, 7, len(images)):  # any number of images
        (logits,) = session.run(None, {"images": images[:batch].numpy()})
        assert logits.argmax(1).tolist() == expected[:batch].argmax(1).tolist()
        np.testing.assert_allclose(logits, expected[:batch], rtol=1e-3, atol=1e-4)


def test_the_exported_program_predicts_what_the_model_does(
    shipped: Path, images: torch.Tensor
) -> None:
    model = torch.export.load(shipped / "student.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(model(images), load_student(shipped)(images))


def test_the_card_says_what_it_is(shipped: Path, run: RunFolder) -> None:
    text = (shipped / "README.md").read_text()
    best = load_best(run.path)
    for part in (
        "# resnet8 on digits",
        "resnet20 > resnet14 > resnet8, dense guidance, drop probability 0.25",
        f"validation accuracy {best['validation_accuracy']:.2f} %",
        "test accuracy 61.50 %",
        best["data"]["fingerprint"],
        "| teacher resnet20, PyTorch | ",
        "| onnx | ",
        "onnxruntime.InferenceSession",
        f"torch {torch.__version__.split('+')[0]}",
    ):
        assert part in text, part
    size = (shipped / "student.onnx").stat().st_size / 1e6
    assert f"| onnx | {size:.3g} |" in text
    assert "on 50 validation images" in text


def test_again_into_the_same_folder_and_from_what_was_exported(
    shipped: Path, place: dict[str, str], tmp_path: Path
) -> None:
    before = (shipped / "student.safetensors").read_bytes()
    export_run(shipped, shipped, (), place)
    export_run(shipped / "best.yaml", tmp_path / "third", (), place)
    assert (tmp_path / "third" / "student.safetensors").read_bytes() == before


def replace_form(monkeypatch: pytest.MonkeyPatch, name: str, make: Any) -> None:
    form = replace(FORMS.get(name), make=make)
    monkeypatch.setitem(FORMS._known, name, form)


@pytest.mark.parametrize("wrong", ["logits", "prediction", "nan"])
def test_a_form_that_differs_is_not_kept(
    run: RunFolder,
    place: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    def make(student: Any, images: torch.Tensor, path: Path) -> Any:
        path.write_bytes(b"a form")
        changes = {"logits": 1.01, "prediction": -1.0, "nan": float("nan")}
        return lambda batch: student(batch) * changes[wrong]

    replace_form(monkeypatch, "torch", make)
    with pytest.raises(InputError, match="--formats torch: differs from the PyTorch model"):
        export_run(run.path, tmp_path / "new", ("torch",), place)
    assert not (tmp_path / "new").exists()


def test_without_the_extra_the_other_forms_are_written(
    run: RunFolder, place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxscript" else real(name)
    )
    told: list[str] = []
    written = export_run(run.path, tmp_path / "new", overrides=place, log=told.append)
    assert "student.onnx" not in {path.name for path in written}
    assert "student.pt2" in {path.name for path in written}
    assert told == [
        "no student.onnx: onnxscript not installed; pip install 'dgkd-search[export]' and export "
        "again"
    ]


def test_a_form_that_was_asked_for_needs_the_extra(
    run: RunFolder, place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    with pytest.raises(InputError, match=r"onnxruntime not installed; pip install"):
        export_run(run.path, tmp_path / "new", ("onnx",), place)


@pytest.mark.parametrize(
    "name", ["best.yaml", "student.safetensors", "README.md", "student.onnx", "student.pt2"]
)
def test_nothing_else_is_overwritten(run: RunFolder, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds another {name}; choose a new folder"):
        export_run(run.path, tmp_path, ())
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["best.yaml", "student.safetensors", "README.md"])
def test_a_pipe_in_the_target_makes_nobody_wait(run: RunFolder, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"holds another {name}; choose a new folder"):
        export_run(run.path, tmp_path, ())


def test_an_impossible_place_is_refused_in_one_line(
    run: RunFolder, place: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match=r"--to .*: can't be written \(.*\); choose another"):
            export_run(run.path, target, (), place)


def test_other_data_are_refused(run: RunFolder, place: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="used other data"):
        export_run(run.path, tmp_path / "new", (), {**place, "split_seed": "7"})


def test_a_loss_whose_code_has_changed_is_refused(
    run: RunFolder, place: dict[str, str], tmp_path: Path
) -> None:
    best = load_best(run.path)
    *others, student = best.stages
    assert student.distillation is not None
    loss = replace(student.distillation, loss=LossSpec("dist", "mine", "c" * 32))
    changed = replace(best, stages=(*others, replace(student, distillation=loss)))
    write_best(RunFolder(tmp_path), changed, run.student.read_bytes())
    with pytest.raises(InputError, match=r"code of its loss 'dist' has changed .*; restore it"):
        export_run(tmp_path, tmp_path / "new", (), place)
    assert not (tmp_path / "new").exists()


def test_a_network_that_cannot_be_exported_is_told(
    run: RunFolder, place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: Any) -> Any:
        raise RuntimeError("data-dependent\ncontrol flow")

    replace_form(monkeypatch, "torch", make)
    told: list[str] = []
    with pytest.raises(InputError, match=r"--formats torch: export failed .data-dependent control"):
        export_run(run.path, tmp_path / "new", ("torch",), place)
    written = export_run(run.path, tmp_path / "new", None, place, told.append)
    assert "student.pt2" not in {path.name for path in written}
    assert "student.safetensors" in {path.name for path in written}
    assert told == ["no student.pt2: export failed (data-dependent control flow)"]


def test_a_readme_of_ones_own_stays(run: RunFolder, place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project")
    with pytest.raises(InputError, match="holds another README"):
        export_run(run.path, tmp_path, (), place)
    assert (tmp_path / "README.md").read_text() == "# My project"
