"""What a test registers is forgotten after it."""

from __future__ import annotations

import copy
from types import ModuleType

import pytest

from dgkd_search.data import kinds
from dgkd_search.distillation import guidance
from dgkd_search.models import registry
from dgkd_search.study import strategies

MODULES: tuple[ModuleType, ...] = (kinds, guidance, registry)


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every registry a copy of what it holds, for the time of a test."""
    for module in MODULES:
        copied = copy.copy(module._registry)
        copied._known, copied._origins = dict(copied._known), dict(copied._origins)
        monkeypatch.setattr(module, "_registry", copied)
    for kinds_ in (strategies.SAMPLERS, strategies.PRUNERS):  # others hold on to these
        monkeypatch.setattr(kinds_, "_known", dict(kinds_._known))
        monkeypatch.setattr(kinds_, "_origins", dict(kinds_._origins))
