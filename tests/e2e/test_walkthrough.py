"""docs/walkthrough.md runs from top to bottom as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.searches import trials

from dgkd_search.results.best import load_best

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
TEXT = (Path(__file__).parents[2] / "docs" / "walkthrough.md").read_text()


def test_the_walkthrough(tmp_path: Path, thorough: bool) -> None:
    if not thorough:
        pytest.skip("two minutes; pytest --thorough")
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", code)
        assert name is not None
        (tmp_path / name[1]).write_text(code)
    commands = re.findall(r"^    ((?:python|dgkd-search) .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 7
    bin_folder = Path(sys.executable).parent
    said = ""
    for command in commands:
        program, *words = shlex.split(command)
        found = subprocess.run(
            [bin_folder / program, *words],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert found.returncode == 0, f"{command}: {found.stderr}"
        said = found.stdout
        if "--teacher-weights" in command:
            assert "teacher resnet18 from" in found.stderr
    assert said.strip() in ("bar", "circle", "cross")
    best = load_best(tmp_path / "found")
    if best["trial"] is not None:  # otherwise labels alone are best, which have no teacher
        assert best["stages"][0]["given"]
    assert {row["teacher"] for row in trials(tmp_path / "found")} == {"resnet18"}
    assert best["test_accuracy"] is not None
    assert (tmp_path / "trained" / "repeat-2" / "student.safetensors").exists()
