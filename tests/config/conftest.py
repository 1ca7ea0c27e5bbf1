"""Hides GPUs, so that tests do not depend on the machine."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
