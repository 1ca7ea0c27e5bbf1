"""Searches that are interrupted, lose a worker, or are watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from searches import TINY, run, start, trials

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


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
