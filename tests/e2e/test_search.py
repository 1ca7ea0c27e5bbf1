"""Whole searches through Ray, as a user starts them, on tiny data."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import yaml
from optuna.trial import TrialState
from PIL import Image

from dgkd_search import load_student
from dgkd_search.cli import main
from dgkd_search.config import DataConfig
from dgkd_search.data import load_test
from dgkd_search.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

EPOCHS = 4
TINY = (
    "--train-limit 200 --teacher resnet20 --assistants resnet14 --student resnet8 "
    f"--epochs 1 --student-epochs {EPOCHS} --batch-size 32"
).split()


def start(*options: object, cwd: Path) -> subprocess.Popen[str]:
    """A search in its own process, as from a shell."""
    return subprocess.Popen(
        [sys.executable, "-m", "dgkd_search", *map(str, options)],
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*options: object, cwd: Path) -> tuple[int, str, str]:
    process = start(*options, cwd=cwd)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A finished search with pruned trials: its run folder, stdout and stderr."""
    cwd = tmp_path_factory.mktemp("finished")
    code, out, err = run(
        *TINY,
        *"--budget 12 --pruner median --concurrency 1 --out run --store store".split(),
        cwd=cwd,
    )
    assert code == 0, err
    return cwd / "run", out, err


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_folder_is_complete(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "study.db",
        "trials.csv",
        "accuracy_vs_assistants.png",
        "accuracy_vs_assistants.svg",
        "best.yaml",
        "student.safetensors",
    }


def test_the_study_opens_with_optuna_alone(finished: tuple[Path, str, str]) -> None:
    folder, _, _ = finished
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    states = [trial.state for trial in study.trials]
    assert len(states) == 12
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
    facts = [t.user_attrs for t in study.trials] + [study.user_attrs["reference"]]
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
    values = [float(r["val_accuracy"]) for r in trials(folder) if r["state"] == "COMPLETE"]
    assert best["validation_accuracy"] == pytest.approx(max(values), abs=1e-3)


def test_what_is_printed_is_the_searchs_own(finished: tuple[Path, str, str]) -> None:
    _, out, err = finished
    names = [line[:12].strip() for line in out.splitlines()]
    if "note" in names:  # so tiny a student may do as well without a teacher
        names.remove("note")
    assert names == [
        "best chain",
        "validation",
        "test",
        "gain",
        "trials",
        "stages",
        "sources",
        "time",
        "files",
    ]
    assert "over the student alone" in out
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
    assert main(["export", str(folder), "--to", str(tmp_path / "ship")]) == 0
    assert load_student(tmp_path / "ship").classes == tuple("0123456789")
    assert str(tmp_path / "ship" / "student.safetensors") in capsys.readouterr().out


def test_the_configuration_repeats_the_search_without_training(
    finished: tuple[Path, str, str],
) -> None:
    folder, _, _ = finished
    cwd = folder.parent
    code, out, err = run(
        "--config", folder / "config.yaml", "--concurrency", 1, "--out", "again", cwd=cwd
    )
    assert code == 0, err
    same = ("state", "assistants", "drop_probability", "val_accuracy", "student_key")
    first, again = (
        [[row[name] for name in same] for row in trials(f)] for f in (folder, cwd / "again")
    )
    assert first == again
    assert "0 trained, " in out


def test_results_do_not_depend_on_scheduling(tmp_path: Path) -> None:
    found = []
    for concurrency in (1, 2):
        out, store = f"run{concurrency}", tmp_path / f"store{concurrency}"
        code, _, err = run(
            *TINY,
            *f"--budget 4 --sampler random --pruner none --concurrency {concurrency}".split(),
            *("--augment", "crop", "--out", out, "--store", store),
            cwd=tmp_path,
        )
        assert code == 0, err
        rows = trials(tmp_path / out)
        weights = {}
        for row in rows:
            entry = Store(store).get(row["student_key"])
            assert entry is not None
            weights[row["student_key"]] = entry.tensors
        found.append((weights, [(r["assistants"], r["val_accuracy"]) for r in rows]))
    assert found[0] == found[1], "bit-identical students, whoever trained what first"


def write_images(folder: Path, per_class: int, seed: int) -> None:
    """Two classes that differ in brightness, as 12x12 PNG files."""
    rng = np.random.default_rng(seed)
    for label, level in (("dark", 60), ("light", 180)):
        (folder / label).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(level - 50, level + 50, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")


def test_the_test_set_is_not_read_during_the_search(tmp_path: Path) -> None:
    write_images(tmp_path / "images/train", 40, seed=1)
    write_images(tmp_path / "images/test", 3, seed=2)
    damaged = tmp_path / "images/test/dark/0.png"
    damaged.write_bytes(b"no image at all")
    code, out, err = run(
        *"--dataset imagefolder --data-dir images --image-size 12 --family plain-c10".split(),
        *"--teacher plain6-c10 --epochs 2 --batch-size 16 --budget 3 --no-reference".split(),
        *"--concurrency 1 --out run --store store --quiet".split(),
        cwd=tmp_path,
    )
    assert code == 1, "the broken test set is said at the end, when everything else is safe"
    assert "3 of 3: 3 completed" in out
    assert len(err.splitlines()) == 1
    assert str(damaged) in err
    best = yaml.safe_load((tmp_path / "run/best.yaml").read_text())
    assert best["test_accuracy"] is None
    assert best["test_reads"] == 0
    assert load_student(tmp_path / "run").classes == ("dark", "light")


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_search_and_keeps_what_is_finished(
    tmp_path: Path, asked: signal.Signals
) -> None:
    process = start(
        *TINY, *"--budget 30 --student-epochs 40 --out run --store store".split(), cwd=tmp_path
    )
    table = tmp_path / "run" / "trials.csv"
    deadline = time.monotonic() + 120
    while not (table.exists() and "COMPLETE" in table.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(asked)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - sent < 10
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]
    states = {row["state"] for row in trials(tmp_path / "run")}
    assert states == {"COMPLETE", "FAIL"}, "nothing is left running"
    kept = list((tmp_path / "store/stages").glob("*/*/stage.json"))
    assert kept and all(json.loads(path.read_bytes())["rows"] for path in kept)


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    options = [*TINY, *"--budget 2 --pruner none --no-reference --concurrency 1".split()]
    process = start(
        *options, *"--student-epochs 12 --out killed --store store".split(), cwd=tmp_path
    )
    partial = tmp_path / "store" / "partial"
    deadline = time.monotonic() + 120
    while not any(partial.glob("*/checkpoint.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    code, _, err = run(
        *options, *"--student-epochs 12 --out whole --store other".split(), cwd=tmp_path
    )
    assert code == 0, err
    same = ("number", "state", "assistants", "val_accuracy", "student_key", "student_epochs")
    killed, whole = (
        [[row[name] for name in same] for row in trials(tmp_path / folder)]
        for folder in ("killed", "whole")
    )
    assert killed == whole


def worker_of(driver: int) -> int:
    """The process in which Ray runs trials."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::ImplicitFunc" in status.read_bytes():
                pid = int(status.parent.name)
                if session_of(pid) & session_of(driver):
                    return pid
        except OSError:
            continue  # it has just ended
    raise AssertionError("no worker is running")


def session_of(pid: int) -> set[str]:
    """Names of the Ray folders that a process has to do with."""
    names: set[str] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        names |= {part for part in target.split("/") if part.startswith("dgkd-")}
    return names


WATCHED = """
import json, os, pathlib, stat, subprocess, sys
import dgkd_search

def listening():
    found = set()
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                found.add(local)
    return found

class Watch(dgkd_search.Observer):
    def job_ended(self, job, state, value, reason):
        new = listening() - before
        assert new, "Ray listens somewhere"
        # 127.0.0.1, the same inside IPv6, and ::1, as the kernel writes them
        local = ("0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000")
        assert all(address.split(":")[0] in local for address in new), new
        token = pathlib.Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700

before = listening()
ours = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "TUNE_FUNCTION_THREAD_TIMEOUT_S", "RAY_DEDUP_LOGS")
before_us = {name: os.environ.get(name) for name in ours}
options = dict(train_limit=100, teacher="resnet14", epochs=1, batch_size=32, budget=1)
for out in ("one", "two"):  # twice in one process: as in a notebook
    options |= dict(out=out, store="store", no_reference=True, concurrency=1)
    summary = dgkd_search.search(Watch(), **options)
    assert summary.work.completed == 1
    assert {name: os.environ.get(name) for name in ours} == before_us
print("fine")
"""


def test_a_search_is_private_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.stdout.endswith("fine\n"), found.stderr


# Eight configurations, which the budget makes every search try.
LADDER = (
    "--train-limit 200 --family plain-c10 --teacher plain10-c10 --student plain2-c10 "
    "--assistants plain8-c10,plain6-c10,plain4-c10 --augment crop+flip --views 2 --epochs 3 "
    "--batch-size 16 --lr 0.02 --drop-prob 0.25 --sampler random --seed 3 --pruner none "
    "--budget 8 --no-reference"
).split()


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """Validation accuracies by epoch of every configuration, by its student's key."""
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    return {t.user_attrs["stages"][-1]["key"]: t.intermediate_values for t in study.trials}


@pytest.mark.timeout(600)
def test_sharing_changes_no_result(tmp_path: Path) -> None:
    ways = {
        "alone": "--store none --concurrency 1",
        "beside": "--store none --concurrency 2",
        "shared": "--store store --concurrency 2",
        "again": "--store store --concurrency 1",
    }
    found, printed = {}, {}
    for out, way in ways.items():
        code, printed[out], err = run(*LADDER, *way.split(), "--out", out, cwd=tmp_path)
        assert code == 0, err
        found[out] = curves(tmp_path / out)
        stores = [path.parent.name for path in tmp_path.rglob("format.json")]
        assert stores == (["store"] if "--store store" in way else []), "private ones are gone"
        assert list(tmp_path.glob(".*-stores")) == []
    assert len(found["alone"]) == 8
    assert all(list(curve) == [1, 2, 3] for curve in found["alone"].values())
    assert len({tuple(curve.values()) for curve in found["alone"].values()}) > 4
    assert found["alone"] == found["beside"] == found["shared"] == found["again"]
    for out in ways:
        best = yaml.safe_load((tmp_path / out / "best.yaml").read_text())
        entry = Store(tmp_path / "store").get(best["stages"][-1]["key"])
        assert entry is not None
        assert (tmp_path / out / "student.safetensors").read_bytes() == entry.tensors
    # Each for itself: 8 teachers, 12 assistants, 8 students. Shared: one teacher, an assistant for
    # each of 7 sets of larger ones and itself, 8 students.
    assert "28 trained, 0 found in the store" in printed["alone"]
    assert "28 trained, 0 found in the store" in printed["beside"]
    assert "16 trained, 12 found in the store" in printed["shared"]
    assert "stages      0 trained, 28 found in the store" in printed["again"]
    assert "taught 0 images from 0 forwards" in printed["again"]
