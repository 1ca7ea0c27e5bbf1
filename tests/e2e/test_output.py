"""One search of the command line: every line that it prints, and where it listens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from helpers.listening import LOOPBACK, observe
from helpers.registries import isolate
from helpers.searches import start, trials

from dgkd_search.cli.main import main

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# The largest network crashes whatever process trains it, the first time.
CRASHING = """
import os, pathlib, signal
import torch
from torch import nn
import dgkd_search

class Net(nn.Sequential):
    def __init__(self, width, *, classes, channels, image_size):
        super().__init__(
            nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.Linear(width, classes)
        )
        self.crashes = width == 32
        self.register_buffer("start", torch.load("start.pt"))  # in the folder of the search

    def forward(self, images):
        mark = pathlib.Path(os.environ["HOME"]) / "crashed"
        if self.crashes and self.training and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(images)

def of(width):
    return lambda **data: Net(width, **data)

dgkd_search.family("mlp", small=of(8), middle=of(16), large=of(32))
"""
OPTIONS = "--models crashing --train-limit 100 --epochs 2 --batch-size 32 --confirm 1x2 --budget 2"
LINE = re.compile(
    r"\d\d:\d\d:\d\d ("
    r"note: the validation set has 50 images, .*|"
    r"preparing digits|stored outputs: .*|starting Ray for 1 trial at once|"
    r"Ray is running; the first workers are starting|"
    r"(#\d|labels alone)(, fresh seed \d:)? (small|middle|large) \(\d of \d\): "
    r"(training|cached|resumed from a checkpoint)|"
    r"(#\d|labels alone)(, fresh seed \d:)? (large > )?(middle > )?small(  drop [\d.]+)?  complete"
    r"  \d+\.\d\d %(  \[.*\])?|"
    r"(#0|labels alone): its worker died; it continues with another worker|"
    r"the trials are finished; training \d replicates with fresh seeds|"
    r"choosing the best student, writing the results)"
)
SUMMARY = (
    "best chain", "validation", "test", "fresh seeds", "gain", "conclusion", "trials", "stages",
    "teachers", "time", "files",
)  # fmt: skip


def test_every_line_is_the_searchs_own_and_nothing_listens_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    torch.save(torch.arange(3.0), tmp_path / "start.pt")
    search = start(*OPTIONS.split(), *"--concurrency 1 --out run".split(), cwd=tmp_path)
    with observe(search.pid) as observed:
        out, err = search.communicate(timeout=400)
    assert search.returncode == 0, err
    assert observed.addresses, "Ray listens somewhere"
    assert observed.addresses <= set(LOOPBACK)
    assert observed.token_modes == {(0o600, 0o700)}
    assert [line for line in err.splitlines() if not LINE.fullmatch(line)] == []
    assert err.count("its worker died; it continues with another worker") == 1
    said = [line[:12].strip() for line in out.splitlines()]
    assert set(said) <= {*SUMMARY, "note"}
    assert [word for word in said if word != "note"] == [w for w in SUMMARY if w in said]
    assert [row["state"] for row in trials(tmp_path / "run")] == ["COMPLETE", "COMPLETE"]

    # Again and finished: quietly, then as events.
    search = start("--resume", "run", "--quiet", cwd=tmp_path)
    out, err = search.communicate(timeout=400)
    assert (search.returncode, err) == (0, "")
    assert re.fullmatch(
        r"[a-z >]+  \((?:[^)]*trial \d|no teacher: labels alone)\)  "
        r"validation [\d.]+ %, test [\d.]+ %; files in run\n",
        out,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    isolate(monkeypatch)  # it adds its own
    capsys.readouterr()
    assert main(["--resume", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert err == ""
    assert events[0] == "message"
    assert events[-1] == "summary"
