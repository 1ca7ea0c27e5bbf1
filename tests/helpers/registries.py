"""What a test registers is forgotten after it."""

from __future__ import annotations

import pytest

from dgkd_search.utils import registry


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every registry that there is hold, after a test, what it holds now."""
    for each in registry._registries:
        monkeypatch.setattr(each, "_known", dict(each._known))
        monkeypatch.setattr(each, "_origins", dict(each._origins))
