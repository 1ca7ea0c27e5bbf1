"""What a test registers is forgotten after it."""

from __future__ import annotations

import copy
from types import ModuleType

import pytest

from dgkd_search.data import kinds
from dgkd_search.distillation import guidance
from dgkd_search.models import registry

MODULES: tuple[ModuleType, ...] = (kinds, guidance, registry)


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every registry a copy of what it holds, for the time of a test."""
    for module in MODULES:
        copied = copy.copy(module._registry)
        copied._known, copied._origins = dict(copied._known), dict(copied._origins)
        monkeypatch.setattr(module, "_registry", copied)
