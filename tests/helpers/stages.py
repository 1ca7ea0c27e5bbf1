"""Types of fixtures in ``conftest.py`` that are functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec

WithoutSeconds = Callable[[Iterable[EpochMetrics]], list[dict[str, Any]]]


class StagesOf(Protocol):
    """Returns the stages of a resnet chain on fixture ``digits``; settings are the student's."""

    def __call__(
        self,
        *models: str,
        guidance: str = "dense",
        epochs: int = 1,
        student_epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 0.05,
        schedule: str = "constant",
        augment: str = "none",
        threads: int = 1,
        train_seed: int = 0,
        replicate: int = 0,
        **distillation: Any,
    ) -> tuple[StageSpec, ...]: ...
