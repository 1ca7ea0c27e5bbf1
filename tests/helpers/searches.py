"""Starting searches in new processes, as from a shell."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

EPOCHS = 4
TINY = (
    "--train-limit 200 --teacher resnet20 --assistants resnet14 --student resnet8 "
    f"--epochs 1 --student-epochs {EPOCHS} --batch-size 32 --confirm off"
).split()


WITHOUT_RAY = Path(__file__).with_name("rayless.py")


def start(*options: object, cwd: Path, ray: bool = True) -> subprocess.Popen[str]:
    """Start a search in a new process, as from a shell, with or without Ray."""
    program = ["-m", "dgkd_search"] if ray else [str(WITHOUT_RAY)]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, options)],
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*options: object, cwd: Path, ray: bool = True) -> tuple[int, str, str]:
    process = start(*options, cwd=cwd, ray=ray)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))
