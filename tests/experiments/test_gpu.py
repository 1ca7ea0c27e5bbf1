"""The check for GPU machines, rehearsed on the CPU, and the script that packs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "gpu"


def rehearse(*steps: str) -> dict[str, dict[str, object]]:
    """Run the check; return the output of each step by name."""
    command = [sys.executable, str(FOLDER / "gpu_check.py"), "--small", "--only", ",".join(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {str(line["step"]): line for line in lines}


def test_the_rehearsal_trains_a_chain_and_counts_steps() -> None:
    told = rehearse("trial", "steps")
    assert told.keys() >= {"trial", "steps", "all"}
    assert [name for name, line in told.items() if not line.get("ok", True)] == []


def test_the_whole_rehearsal_passes(thorough: bool) -> None:
    if not thorough:
        pytest.skip("some minutes; pytest --thorough")
    told = rehearse("machine", "replay", "same", "agree", "memory", "oom", "own", "stream", "speed")
    assert [name for name, line in told.items() if not line.get("ok", True)] == []


@pytest.mark.parametrize("name", ["pack.sh", "there.sh"])
def test_what_the_scripts_name_is_there(name: str) -> None:
    text = (FOLDER / name).read_text()
    subprocess.run(["bash", "-n", FOLDER / name], check=True)
    named = [word.strip('"()') for word in text.split() if word.strip('"()').endswith(".py")]
    for path in named:
        if path.startswith("dgkd_search/"):
            assert (ROOT / path).is_file(), path
