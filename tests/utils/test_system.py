from __future__ import annotations

from pathlib import Path

import pytest

from dgkd_search.utils import system


def test_the_least_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, limit, used = (tmp_path / name for name in ("meminfo", "max", "current"))
    monkeypatch.setattr(system, "_MEMORY", memory)
    monkeypatch.setattr(system, "_GROUPS", [(limit, used)])
    assert system.available_memory() is None, "not on Linux"
    memory.write_text("MemTotal: 9 kB\nMemAvailable:     3 kB\n")
    assert system.available_memory() == 3072
    limit.write_text("max\n")
    used.write_text("500\n")
    assert system.available_memory() == 3072, "no limit"
    limit.write_text("1500\n")
    assert system.available_memory() == 1000
    limit.write_text("400\n")
    assert system.available_memory() == 0
