"""Two searches in one process, as in a notebook: private, and without a trace in that process.

``test_output`` always checks that a search from the command line is private.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WATCHED = """
import os
import dgkd_search
from dgkd_search.callbacks.events import TrialEnded
from helpers.listening import LOOPBACK, listening, token_modes

class Watch(dgkd_search.Callback):
    def notify(self, event):
        if isinstance(event, TrialEnded):
            addresses = listening(os.getpid())
            assert addresses, "Ray listens somewhere"
            assert addresses <= set(LOOPBACK), addresses
            assert token_modes(os.getpid()) == {(0o600, 0o700)}

names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "TUNE_FUNCTION_THREAD_TIMEOUT_S", "RAY_DEDUP_LOGS")
before = {name: os.environ.get(name) for name in names}
options = dict(train_limit=100, teacher="resnet14", epochs=1, batch_size=32, budget=1)
for out in ("one", "two"):
    options |= dict(out=out, store="store", no_reference=True, concurrency=1, confirm="off")
    summary = dgkd_search.search(Watch(), **options)
    assert summary.work.completed == 1
    assert {name: os.environ.get(name) for name in names} == before
print("fine")
"""


def test_searches_are_private_and_leave_the_process_as_it_was(
    tmp_path: Path, thorough: bool
) -> None:
    if not thorough:
        pytest.skip("two searches by Ray; pytest --thorough")
    found = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.endswith("fine\n"), found.stderr
