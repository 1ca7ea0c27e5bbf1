"""Complete searches with Ray on tiny data, started as a user would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml
from helpers.rayless import without_ray
from helpers.searches import EPOCHS, TINY, run, trials
from optuna.trial import TrialState
from PIL import Image

from dgkd_search import load_student
from dgkd_search.cli.main import main
from dgkd_search.data import load_test
from dgkd_search.data.config import DataConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


BUDGET = 9


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A finished search with pruned trials: run folder, stdout and stderr."""
    cwd = tmp_path_factory.mktemp("finished")
    code, out, err = run(
        *TINY,
        *f"--budget {BUDGET} --pruner median --concurrency 1 --out run --store store".split(),
        *"--confirm 1x2".split(),
        cwd=cwd,
    )
    assert code == 0, err
    return cwd / "run", out, err


def test_the_run_folder_is_complete(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "study.db",
        "trials.csv",
        "accuracy_vs_assistants.png",
        "accuracy_vs_assistants.svg",
        "report.html",
        "best.yaml",
        "student.safetensors",
        ".definition.json",
        ".lock",
    }


def test_the_study_opens_with_optuna_alone(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    states = [trial.state for trial in study.trials]
    assert len(states) == BUDGET
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}, "the pruner stopped some"
    for trial in study.trials:
        steps = list(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1)), "steps are the student's epochs, from 1"
        assert set(trial.params) == {"use_resnet14", "drop_prob"}
        if trial.state == TrialState.COMPLETE:
            assert len(steps) == EPOCHS
            assert trial.value == trial.intermediate_values[EPOCHS], "the last epoch, not the best"
        else:
            assert 0 < len(steps) < EPOCHS


def test_the_table_agrees_with_the_study(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    rows = trials(folder)
    assert [row["state"] for row in rows] == [t.state.name for t in study.trials]
    first, second = rows[:2]
    assert (first["teacher"], first["assistants"], first["student"]) == ("resnet20", "", "resnet8")
    assert (second["assistants"], second["drop_probability"]) == ("resnet14", "0.25")
    complete = [row["student_key"] for row in rows if row["state"] == "COMPLETE"]
    assert len(set(complete)) == len(complete), "no student is trained twice"


def test_each_model_was_trained_once(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    facts = [t.user_attrs["facts"] for t in study.trials] + [study.user_attrs["reference"]]
    trained = [s["key"] for fact in facts for s in fact["stages"] if s["trained"]]
    assert len(set(trained)) == len(trained)
    assert sum(s["name"] == "resnet20" for f in facts for s in f["stages"] if s["trained"]) == 1


def test_the_shipped_student_has_the_stated_test_accuracy(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    best = yaml.safe_load((folder / "best.yaml").read_text())
    part = load_test(DataConfig("digits"))
    student = load_student(folder)
    with torch.inference_mode():
        predicted = student(torch.from_numpy(part.images)).argmax(dim=1)
    right = float((predicted == torch.from_numpy(part.labels)).float().mean())
    assert 100 * right == pytest.approx(best["test_accuracy"])
    assert best["test_reads"] == 1
    assert best["confirmation"]["whole"]
    again = {row["trial"]: row for row in best["confirmation"]["configurations"]}
    means = {int(r["number"]): float(r["repeats_mean"]) for r in trials(folder) if r["repeats"]}
    assert means == pytest.approx(
        {t: r["mean"] for t, r in again.items() if t is not None}, abs=1e-3
    )
    assert best["trial"] == max(again, key=lambda trial: again[trial]["mean"])
    assert best["validation_accuracy"] in again[best["trial"]]["accuracies"]
    assert None in again, "labels alone"


def test_what_is_printed_is_the_searchs_own(finished: tuple[Path, str, str]) -> None:
    _, out, err = finished
    names = [line[:12].strip() for line in out.splitlines()]
    assert names == [
        "best chain",
        "validation",
        "test",
        "fresh seeds",
        *(["gain"] if "gain" in names else []),
        "conclusion",
        *(["note"] if "note" in names else []),
        "trials",
        "stages",
        "teachers",
        "time",
        "files",
    ]
    assert "labels alone" in out
    assert "over plain KD" in out
    for line in err.splitlines():
        assert line[2] == line[5] == ":", f"a stray line: {line!r}"


def test_the_figures_are_drawn_again_and_the_student_exported(
    finished: tuple[Path, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, _ = finished
    svg = folder / "accuracy_vs_assistants.svg"
    before = svg.read_bytes()
    svg.unlink()
    assert main(["plot", str(folder)]) == 0
    assert svg.read_bytes() == before
    best = yaml.safe_load((folder / "best.yaml").read_text())
    page = tmp_path / "report.html"
    assert main(["report", str(folder), "--to", str(page)]) == 0
    for written in (page.read_text(), (folder / "report.html").read_text()):
        assert f"{best['test_accuracy']:.2f} % (test set read once)" in written
        assert f"{BUDGET} of {len(trials(folder))}: " in written
    ship = ["--to", str(tmp_path / "ship"), "--formats", "none"]
    assert main(["export", str(folder), *ship]) == 0
    assert load_student(tmp_path / "ship").classes == tuple("0123456789")
    assert str(tmp_path / "ship" / "student.safetensors") in capsys.readouterr().out


def again_of(best: dict[str, Any]) -> list[float]:
    """Return the accuracies of the best trial with fresh seeds."""
    rows = best["confirmation"]["configurations"]
    return next(row["accuracies"] for row in rows if row["trial"] == best["trial"])


def test_the_configuration_repeats_the_search_without_training(
    finished: tuple[Path, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Even though Ray ran the first search, and this process runs the second one."""
    folder, _, _ = finished
    cwd = folder.parent
    words = ["--config", str(folder / "config.yaml"), "--concurrency", "1", "--out", "again"]
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cwd / "cache"))
    with without_ray():
        assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    same = ("state", "assistants", "drop_probability", "val_accuracy", "student_key")
    first, again = (
        [[row[name] for name in same] for row in trials(f)] for f in (folder, cwd / "again")
    )
    assert first == again
    events = [json.loads(line) for line in out.splitlines()]
    ends = [e for e in events if e["event"] == "trial_ended" and not e["trial"]["replicate"]]
    told = {e["trial"]["number"]: e["state"] for e in ends}
    assert told.pop(None) == "complete", "labels alone"
    assert told == {int(row["number"]): row["state"].lower() for row in trials(cwd / "again")}
    best, summary = yaml.safe_load((cwd / "again/best.yaml").read_text()), events[-1]
    assert summary["event"] == "summary"
    assert summary["accuracies"]["test"] == best["test_accuracy"]
    assert summary["repeats"]["accuracies"] == again_of(best)
    assert summary["work"]["trained"] == summary["work"]["forwards"] == 0


def write_images(folder: Path, per_class: int, seed: int) -> None:
    """Write two classes that differ in brightness, as 12x12 PNG files."""
    rng = np.random.default_rng(seed)
    for label, level in (("dark", 60), ("light", 180)):
        (folder / label).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(level - 50, level + 50, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")


def test_the_test_set_is_not_read_during_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "images/train", 40, seed=1)
    write_images(tmp_path / "images/test", 3, seed=2)
    damaged = tmp_path / "images/test/dark/0.png"
    damaged.write_bytes(b"no image at all")
    words = (
        "--dataset imagefolder --data-dir images --image-size 12 --family plain-c10 "
        "--teacher plain6-c10 --epochs 2 --batch-size 16 --budget 3 --no-reference "
        "--confirm off --concurrency 1 --out run --store store --quiet"
    )
    with without_ray():
        code = main(words.split())
    out, err = capsys.readouterr()
    assert code == 1, "the broken test set is said at the end, when everything else is safe"
    assert [row["state"] for row in trials(tmp_path / "run")] == ["COMPLETE"] * 3
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 1)
    assert str(damaged) in err
    best = yaml.safe_load((tmp_path / "run/best.yaml").read_text())
    assert best["test_accuracy"] is None
    assert best["test_reads"] == 0
    assert load_student(tmp_path / "run").classes == ("dark", "light")
