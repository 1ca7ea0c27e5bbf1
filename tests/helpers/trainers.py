"""Teachers that record their calls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dgkd_search.training.recipe import Numerics
from dgkd_search.training.teachers import OnlineTeachers, Teachers

CPU = torch.device("cpu")


def online(*models: nn.Module) -> OnlineTeachers:
    return OnlineTeachers([copy.deepcopy(model) for model in models], CPU, Numerics())


class Spy:
    """Teachers that record which of them were asked for which rows, and call back."""

    def __init__(self, sources: Teachers, notice: Callable[[], Any] = lambda: None) -> None:
        self.sources, self.notice = sources, notice
        self.asked: list[tuple[list[int], list[int]]] = []

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def rows(self) -> list[list[int]]:
        return [rows for _, rows in self.asked]

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        self.asked.append((list(which), rows.tolist()))
        self.notice()
        return self.sources.logits(which, images, rows, bank)
