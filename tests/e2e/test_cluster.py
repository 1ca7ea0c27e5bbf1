"""A search on a cluster of two nodes, one of which is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.searches import TINY, trials

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# In a separate process, because Ray stays loaded in the process that uses it.
SCRIPT = """
import pathlib, subprocess, sys, time
from ray.cluster_utils import Cluster

def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def workers():
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::ImplicitFunc" in path.read_bytes():
                yield int(path.parent.name)
        except OSError:
            pass

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1, include_dashboard=False) for _ in range(2)]
raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
command = [sys.executable, "-m", "dgkd_search", "--address", cluster.address, *sys.argv[1:]]
process = subprocess.Popen(command)
try:
    deadline = time.monotonic() + 120
    while not any(pathlib.Path("store/partial").glob("*/checkpoint.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    busy = [raylets[parent(pid)] for pid in workers() if parent(pid) in raylets]
    cluster.remove_node(busy[0], allow_graceful=False)
    code = process.wait(150)
finally:
    process.kill()
    cluster.shutdown()
sys.exit(code)
"""


def test_the_trials_of_a_node_that_goes_are_moved(tmp_path: Path, thorough: bool) -> None:
    """``test_output`` tests the same for a lost worker, in less time."""
    if not thorough:
        pytest.skip("a cluster of three nodes; pytest --thorough")
    options = "--concurrency 1 --gpus-per-trial 0 --budget 1 --student-epochs 12 --out run"
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *TINY, *options.split(), "--store", tmp_path / "store"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "1 of 1: " in found.stdout and ", 0 failed" in found.stdout
    assert "connected to 3 nodes with 2 CPUs and 0 GPUs; the first workers" in found.stderr
    assert "its worker died; it continues with another worker" in found.stderr
    assert "raylet" not in found.stdout + found.stderr
    assert {row["state"] for row in trials(tmp_path / "run")} <= {"COMPLETE", "PRUNED"}
