"""Weights that constructors load: part of keys, and the same in every later command."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.rayless import without_ray
from helpers.registries import isolate
from helpers.shipped import make_run
from torch import nn

from dgkd_search.cli.main import main
from dgkd_search.distillation.cost import training_tflop
from dgkd_search.errors import InputError
from dgkd_search.models import families, registry
from dgkd_search.models.construction import construct
from dgkd_search.results.best import load_best, load_student
from dgkd_search.utils.hashing import digest
from dgkd_search.workflows import finish, search
from dgkd_search.workflows.export import export_run
from dgkd_search.workflows.retrain import retrain
from dgkd_search.workflows.single_chain import plan, run_trial

CODE = """
from functools import partial
from pathlib import Path
import torch
from torch import nn
import dgkd_search

def mlp(width, classes, channels, image_size):
    backbone = nn.Linear(channels * image_size**2, width)
    if Path(f"{width}.pt").exists():
        backbone.load_state_dict(torch.load(f"{width}.pt"))
    return nn.Sequential(nn.Flatten(), backbone, nn.ReLU(), nn.Linear(width, classes))

dgkd_search.family("loading", small=partial(mlp, 4), middle=partial(mlp, 8), large=partial(mlp, 16))
"""
CHAIN = ("large", "middle", "small")
TINY: dict[str, Any] = {"train_limit": 60, "epochs": 1, "batch_size": 20, "lr": 0.05}


def save(*widths: int) -> None:
    """Write other weights for the models of these widths."""
    for width in widths:
        torch.save(nn.Linear(64, width).state_dict(), f"{width}.pt")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    isolate(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"loading_{tmp_path.name}"
    Path(f"{name}.py").write_text(CODE)
    return name


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Record no start weights, as versions did before; return a function that ends this."""
    patch = pytest.MonkeyPatch()
    patch.setattr(families, "start_weights", lambda *_: "")
    patch.setattr(registry, "construct_planned", construct)
    return patch.undo


def keys(module: str, names: tuple[str, ...] = CHAIN) -> list[str]:
    stages, _ = plan(names, models=module, store="store", **TINY)
    return [stage.key for stage in stages]


def test_only_models_that_load_weights_get_other_keys(module: str) -> None:
    drawn, _ = plan(CHAIN, models=module, store="store", **TINY)
    for stage in drawn:  # the key of earlier versions
        described = stage.to_dict()
        assert "start" not in stage.architecture.to_dict()
        assert stage.key == digest(described)
    save(8)
    first = keys(module)
    save(8)
    second = keys(module)
    assert first[0] == second[0] == drawn[0].key, "the teacher loads nothing"
    assert len({first[1], second[1], drawn[1].key}) == 3
    assert len({first[2], second[2], drawn[2].key}) == 3, "its teachers are part of a key"
    Path("8.pt").unlink()
    assert keys(module) == [stage.key for stage in drawn]


def test_no_model_that_began_with_other_weights_is_handed_out(module: str) -> None:
    save(16)
    one, data = plan(CHAIN, models=module, store="store", **TINY)
    assert run_trial(one, data, "store").stages[0].trained == 1
    assert run_trial(one, data, "store").stages[0].trained == 0
    save(16)
    with pytest.raises(InputError, match=r"^model 'large' of loading_.* other start weights"):
        run_trial(one, data, "empty")
    other, data = plan(CHAIN, models=module, store="store", **TINY)
    assert run_trial(other, data, "store").stages[0].trained == 1
    assert training_tflop(one, 60) == training_tflop(other, 60)


def test_a_student_is_loaded_exported_and_retrained_with_its_start_weights(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(4, 8)
    run = make_run(tmp_path, CHAIN, models=module, **TINY)
    place = {"store": str(tmp_path / "store"), "models": module}
    spec = load_best(run.path).stages[-1]
    assert load_best(run.path)["stages"][-1]["architecture"]["start"] == spec.architecture.start
    images = torch.rand(2, 1, 8, 8)
    logits = load_student(run.path)(images)
    assert export_run(run.path, tmp_path / "out", (), place)
    trained = retrain(run.best, tmp_path / "trained", 1, place)
    again = load_best(trained.folders[0]).stages[-1]
    assert again.architecture == spec.architecture
    for file in ("4.pt", "8.pt"):
        shutil.copy(file, f"kept-{file}")
    save(4)
    with pytest.raises(InputError, match=r"best\.yaml: model 'small' of .* other start weights"):
        load_student(run.path)
    with pytest.raises(InputError, match=r"best\.yaml: model 'small' of .* other start weights"):
        export_run(run.path, tmp_path / "other", (), place)
    with pytest.raises(InputError, match="the constructors of small load other start weights"):
        retrain(run.best, tmp_path / "others", 1, place)
    assert not (tmp_path / "other").exists() and not (tmp_path / "others").exists()
    shutil.copy("kept-4.pt", "4.pt")
    save(8)
    assert torch.equal(load_student(run.path)(images), logits), "the assistant is not in it"
    with pytest.raises(InputError, match="the constructors of middle load other start weights"):
        retrain(run.best, tmp_path / "others", 1, place)


def test_a_constructor_that_fails_is_told_and_not_a_damaged_file(
    module: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path, CHAIN, models=module, **TINY)
    Path("4.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"best\.yaml: model 'small' of .*: can't be built for"):
        load_student(run.path)


def test_a_student_of_an_earlier_version_works(
    module: str, tmp_path: Path, as_before: Callable[[], None]
) -> None:
    save(4, 8, 16)
    run = make_run(tmp_path, CHAIN, models=module, **TINY)
    student = load_student(run.path)
    as_before()
    place = {"store": str(tmp_path / "store"), "models": module}
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(load_student(run.path)(images), student(images))
    assert export_run(run.path, tmp_path / "out", (), place)
    lines: list[str] = []
    (folder,) = retrain(run.best, tmp_path / "trained", 1, place, lines.append).folders
    assert any("records no start weights of large, middle, small" in line for line in lines)
    assert all(stage.architecture.start for stage in load_best(folder).stages)


SEARCH = (
    "--train-limit 60 --epochs 1 --batch-size 20 --budget 1 --confirm off --no-reference "
    "--store store --out run --quiet --models"
).split()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures, and write no report."""
    monkeypatch.setattr(finish, "draw_figures", lambda *_: None)
    monkeypatch.setattr(search, "_write_report", lambda *_: None)


@pytest.mark.usefixtures("quick")
def test_a_run_is_resumed_with_its_start_weights_alone(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(8, 16)
    with without_ray():
        assert main([*SEARCH, module]) == 0
        shutil.copy("8.pt", "kept.pt")
        save(8)
        for more in ([], ["--dry-run"]):
            line = refused(capsys, "--resume", "run", "--budget", "2", *more)
            assert "run: the constructors of its models middle load other start weights" in line
        shutil.copy("kept.pt", "8.pt")
        trained = {*Path("store").glob("stages/*/*")}
        assert main(["--resume", "run"]) == 0, "its results are written again"
        assert trained == {*Path("store").glob("stages/*/*")}


@pytest.mark.usefixtures("quick")
def test_a_run_of_an_earlier_version_is_not_mixed_with_other_models(
    module: str, thorough: bool, capsys: pytest.CaptureFixture[str], as_before: Callable[[], None]
) -> None:
    save(16)
    with without_ray():
        assert main([*SEARCH, module]) == 0
    as_before()
    assert "models large load other start weights than when" in refused(capsys, "--resume", "run")
    assert load_student("run")
    for command in ("plot", "report") if thorough else ():
        assert main([command, "run"]) == 0
