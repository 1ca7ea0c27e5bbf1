"""The commands and scripts of docs/ run as printed, each page in a separate folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DOCS = Path(__file__).parents[2] / "docs"
# Commands that need machines, data or files that tests lack.
ELSEWHERE = (
    "cifar", "HEAD", "RUN", "photos", "mymodels", "DIR", "venv", "install", "BEST", "--address",
)  # fmt: skip
COMMANDS = {"quickstart.md": 5, "data.md": 3, "paper.md": 3, "sharing.md": 4, "options.md": 0}
QUICK = {"data.md", "options.md"}


def commands(text: str) -> list[str]:
    found = re.findall(r"^    ((?:python|dgkd-search) .*)$", text, re.MULTILINE)
    bare = [re.split(r"\s{2,}#", command)[0] for command in found]
    return [command for command in bare if not any(word in command for word in ELSEWHERE)]


@pytest.mark.parametrize("page", COMMANDS)
def test_a_page(page: str, tmp_path: Path, thorough: bool) -> None:
    if page not in QUICK and not thorough:
        pytest.skip("minutes; pytest --thorough")
    text = (DOCS / page).read_text()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", code)
        assert name is not None
        (tmp_path / name[1]).write_text(code)
    found = commands(text)
    assert len(found) == COMMANDS[page]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    if page == "sharing.md":  # it needs a store with entries
        found.insert(0, "dgkd-search --train-limit 100 --epochs 1 --budget 1 --confirm off --out x")
    for command in found:
        program, *words = shlex.split(command)
        done = subprocess.run(
            [Path(sys.executable).parent / program, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-500:]} {done.stderr[-1000:]}"
    if page == "quickstart.md":
        assert (tmp_path / "student" / "student.pt2").exists()
        assert (tmp_path / "first" / "report.html").exists()
