"""Restoring registries after a test."""

from __future__ import annotations

import pytest

from dgkd_search.utils import registry


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore all registries to their present state after the test."""
    for each in registry._registries:
        monkeypatch.setattr(each, "_known", dict(each._known))
        monkeypatch.setattr(each, "_origins", dict(each._origins))
        monkeypatch.setattr(each, "_built_in", each._built_in)
