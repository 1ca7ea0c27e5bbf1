"""Workers start from any process, print nothing, and end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HELPER = """
import os, time
from dgkd_search.training.loader_workers import prepare_worker

def work(queue):
    prepare_worker(0)
    queue.put(os.getpid())
    time.sleep(600)
"""

# A script without an ``if __name__ == "__main__"`` guard.
SCRIPT = """
import multiprocessing, os, signal, sys, time
import helper
from dgkd_search.training.loader_workers import WorkerContext, start_fork_server

signal.signal(signal.SIGINT, signal.default_int_handler)
print("main", flush=True)
start_fork_server("helper")
context = WorkerContext()
queue = context.SimpleQueue()
for _ in range(2):
    context.Process(target=helper.work, args=(queue,), daemon=True).start()
assert sys.modules["__main__"].queue is queue
print(*[queue.get() for _ in range(2)], flush=True)
try:
    time.sleep(float(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted")
"""


class Caller:
    """Runs the script in a process with its own process group; it has two workers."""

    def __init__(self, folder: Path, seconds: float) -> None:
        (folder / "helper.py").write_text(HELPER)
        (folder / "script.py").write_text(SCRIPT)
        self.process = subprocess.Popen(
            [sys.executable, "script.py", str(seconds)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().strip()
        self.workers = [int(pid) for pid in self.process.stdout.readline().split()]

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit status, the rest of its output, and its errors."""
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Callable[[float], Caller]]:
    callers: list[Caller] = []

    def make(seconds: float) -> Caller:
        callers.append(Caller(tmp_path, seconds))
        return callers[-1]

    yield make
    for caller in callers:
        if caller.process.returncode is None:
            caller.process.kill()
            caller.end()


def alive(pid: int) -> bool:
    """Return whether a process is running, and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_a_script_that_asks_nowhere_for_its_name_runs_once(
    call: Callable[[float], Caller],
) -> None:
    caller = call(0)
    assert caller.first == "main" and len(set(caller.workers)) == 2
    assert caller.end() == (0, "", "")
    assert all_gone(caller.workers)


def test_an_interrupt_of_the_whole_group_reaches_the_caller_alone(
    call: Callable[[float], Caller],
) -> None:
    caller = call(600)
    for pid in caller.workers:
        os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert all(map(alive, caller.workers))
    os.killpg(caller.process.pid, signal.SIGINT)
    assert caller.end() == (0, "interrupted\n", "")
    assert all_gone(caller.workers)


def test_workers_end_when_their_caller_is_killed(call: Callable[[float], Caller]) -> None:
    caller = call(600)
    assert all(map(alive, caller.workers))
    caller.process.kill()
    assert caller.end()[0] == -signal.SIGKILL
    assert all_gone(caller.workers)
