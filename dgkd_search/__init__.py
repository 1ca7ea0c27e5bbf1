"""Search for the best chain of assistants in densely guided knowledge distillation.

``search``, ``resume``, ``plan``, ``run_trial``, ``train_stage``, ``load_run``, ``load_best``,
``load_student`` and ``family`` are the whole of the library for most uses; they are imported when
they are first asked for, so that ``import dgkd_search`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgkd_search.alone import train_stage
    from dgkd_search.api import plan, resume, run_trial, search
    from dgkd_search.models import family
    from dgkd_search.observer import Observer
    from dgkd_search.results.best import load_best, load_student
    from dgkd_search.results.loaded import load_run

_HOME = {
    "Observer": "dgkd_search.observer",
    "family": "dgkd_search.models",
    "load_best": "dgkd_search.results.best",
    "load_run": "dgkd_search.results.loaded",
    "load_student": "dgkd_search.results.best",
    "plan": "dgkd_search.api",
    "resume": "dgkd_search.api",
    "run_trial": "dgkd_search.api",
    "search": "dgkd_search.api",
    "train_stage": "dgkd_search.alone",
}

__all__ = [
    "Observer",
    "family",
    "load_best",
    "load_run",
    "load_student",
    "plan",
    "resume",
    "run_trial",
    "search",
    "train_stage",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
