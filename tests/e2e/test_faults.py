"""Searches that are interrupted, lose a worker, or are watched from outside."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from searches import TINY, start

from dgkd_search.results.record import load_study
from dgkd_search.results.run import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


LONG = [*TINY, *"--budget 3 --student-epochs 12 --concurrency 1 --seed 5".split()]


def test_nothing_is_lost_whatever_ends_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault harness in short, on searches that take longer to end than to be disturbed."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    faults = import_module("faults")
    monkeypatch.setattr(faults, "SEARCH", LONG)
    plan = ["kill driver", "kill worker"]
    tally = faults.measure(plan, seed=3, mounted=False)
    assert tally.problems == []
    assert dict(+tally.tried) == dict.fromkeys(plan, 1)
    assert max(tally.again) <= 1
    assert tally.first_epochs


def test_two_searches_on_one_store_train_every_stage_once(tmp_path: Path) -> None:
    """At the same time, over the same teacher and assistants, and each with students of its own."""
    names = ("one", "two")
    processes = [
        start(
            *TINY,
            *f"--budget 2 --drop-prob {drop} --concurrency 1 --store store --out {out}".split(),
            cwd=tmp_path,
        )
        for out, drop in zip(names, ("0.1", "0.3"), strict=True)
    ]
    for process in processes:
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
    trained = Counter[str]()
    for out in names:
        study = load_study(RunFolder(tmp_path / out))
        facts = [study.facts(trial) for trial in study.trials] + [study.attributes["reference"]]
        trained.update(
            stage["key"] for fact in facts for stage in fact["stages"] if stage["trained"]
        )
    kept = {path.name for path in (tmp_path / "store" / "stages").glob("*/*")}
    assert dict(trained) == dict.fromkeys(kept, 1)
    # The student alone, the teacher, one assistant, plain KD, and one student each.
    assert len(kept) == 6


WATCHED = """
import json, os, pathlib, stat, subprocess, sys
import dgkd_search

def ours_and_theirs():
    "Processes of this one and of all that it has started: other tests start Ray too."
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    def is_ours(pid):
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()
    return [pid for pid in parents if is_ours(pid)]

def listening():
    sockets = set()
    for pid in ours_and_theirs():
        for path in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(os.readlink(path))
            except OSError:
                pass
    found = set()
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1])
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
    options |= dict(out=out, store="store", no_reference=True, concurrency=1, confirm="off")
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
