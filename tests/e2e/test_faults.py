"""Searches that are interrupted, lose a worker, or are watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from searches import TINY, run, start, trials

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


LONG = [
    *TINY,
    *"--budget 3 --student-epochs 12 --concurrency 1 --seed 5".split(),
]
SAME = ("number", "state", "assistants", "drop_probability", "val_accuracy", "student_epochs")


def results(folder: Path) -> tuple[list[list[str]], bytes]:
    """What must be the same however often a search was stopped."""
    rows = [[row[name] for name in SAME] for row in trials(folder)]
    return rows, (folder / "student.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[list[str]], bytes]:
    """The results of a search that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("whole")
    code, _, err = run(*LONG, *"--out run --store store".split(), cwd=cwd)
    assert code == 0, err
    return results(cwd / "run")


def checkpoint(process: subprocess.Popen[str], store: Path) -> float:
    """Wait for the process's next checkpoint; its time."""
    began = time.time()
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        times = [0.0]
        for path in store.glob("partial/*/checkpoint.json"):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        if max(times) > began:
            return max(times) - began
        time.sleep(0.02)


def test_a_search_goes_on_after_any_end(
    tmp_path: Path, whole: tuple[list[list[str]], bytes]
) -> None:
    store = tmp_path / "store"
    for ended in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        begin = ["--resume", "run"] if store.exists() else [*LONG, "--out", "run", "--store", store]
        process = start(*begin, cwd=tmp_path)
        checkpoint(process, store)
        if ended == signal.SIGTERM:
            code, _, err = run("--resume", "run", cwd=tmp_path)
            assert code == 2 and f"(process {process.pid} on " in err
        process.send_signal(ended)
        sent = time.monotonic()
        _, err = process.communicate(timeout=60)
        if ended == signal.SIGKILL:
            assert process.returncode == -ended
            continue
        assert process.returncode == 130, err
        assert time.monotonic() - sent < 10
        assert "Traceback" not in err
        assert "go on with `dgkd-search --resume run`" in err.splitlines()[-1]
    code, out, err = run("--resume", "run", cwd=tmp_path)
    assert code == 0, err
    assert results(tmp_path / "run") == whole
    assert "3 of 3: " in out and ", 0 failed" in out
    code, out, err = run("--resume", "run", "--budget", 4, cwd=tmp_path)
    assert code == 0 and "4 of 4: " in out, err
    assert [row[:6] for row in results(tmp_path / "run")[0]][:3] == whole[0]


def test_a_killed_worker_costs_nothing_but_time(
    tmp_path: Path, whole: tuple[list[list[str]], bytes]
) -> None:
    process = start(*LONG, *"--out run --store store".split(), cwd=tmp_path)
    checkpoint(process, tmp_path / "store")
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert results(tmp_path / "run") == whole


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
