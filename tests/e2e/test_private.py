"""What a search opens to the outside, and how it leaves its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WATCHED = """
import json, os, pathlib, stat, subprocess, sys
import dgkd_search
from dgkd_search.callbacks.events import TrialEnded

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

class Watch(dgkd_search.Callback):
    def notify(self, event):
        if not isinstance(event, TrialEnded):
            return
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
for out in sys.argv[1:]:  # twice in one process, as in a notebook
    options |= dict(out=out, store="store", no_reference=True, concurrency=1, confirm="off")
    summary = dgkd_search.search(Watch(), **options)
    assert summary.work.completed == 1
    assert {name: os.environ.get(name) for name in ours} == before_us
print("fine")
"""


def test_a_search_is_private_and_leaves_the_process_as_it_was(
    tmp_path: Path, thorough: bool
) -> None:
    """Once; with ``--thorough``, twice in one process."""
    runs = ("one", "two") if thorough else ("one",)
    found = subprocess.run(
        [sys.executable, "-c", WATCHED, *runs],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.endswith("fine\n"), found.stderr
