"""Frozen models that teach: run on every batch, or read from what they said of each view once.

Knows neither store nor trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dgkd_search.data.augmentation import Views
from dgkd_search.errors import StageFailed
from dgkd_search.training.batches import TrainingData
from dgkd_search.training.cuda_graphs import Function, Graphed
from dgkd_search.training.determinism import autocast, deterministic, memory_format
from dgkd_search.training.recipe import Numerics


class Teachers(Protocol):
    """The m teachers of one learner, in the order of its spec."""

    def __len__(self) -> int: ...

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        """Logits of some teachers on one mini-batch, float [len(which), B, C] without gradient.

        Args:
            which: places of the surviving teachers, ascending, at least one.
            images: normalized float [B, channels, size, size], the views themselves.
            rows: int64 [B], the images' places in the training part, on the data's device.
            bank: number of the bank of views.
        """


class OnlineTeachers:
    """Teachers that are run on every batch; the dropped ones aren't.

    Args:
        graphs: run them as CUDA graphs, see ``cuda_graphs.graphs_apply``.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        device: torch.device,
        numerics: Numerics,
        graphs: bool = False,
    ) -> None:
        self._numerics = numerics
        self._models = [freeze(model, device, numerics) for model in models]
        self._forwards: list[Function] = [_forward_of(model) for model in self._models]
        if graphs:
            self._forwards = [Graphed(forward) for forward in self._forwards]

    def __len__(self) -> int:
        return len(self._models)

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        with torch.inference_mode(), autocast(self._numerics):
            outputs = [logits for i in which for logits in self._forwards[i](images)]
            logits = torch.stack([each for each in outputs if each is not None])
        return logits.clone()  # a normal tensor: autograd may save it for the learner's loss


def _forward_of(model: nn.Module) -> Function:
    return lambda images: (model(images),)


class CachedTeachers:
    """Teachers whose outputs on the bank in use lie on the learner's device.

    Args:
        count: number m of teachers.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._bank: int | None = None
        self._outputs: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return self._count

    def use(self, bank: int, outputs: Sequence[Tensor]) -> None:
        """Teach from these outputs, one float16 [N, C] a teacher, until the next call."""
        if len(outputs) != self._count:
            raise ValueError(f"{self._count} teachers have {len(outputs)} outputs")
        self._bank, self._outputs = bank, tuple(outputs)

    def drop(self) -> None:
        """Let go of the bank in use, before another one takes its room."""
        self._bank, self._outputs = None, ()

    def holds(self, bank: int) -> bool:
        return self._bank == bank

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        if self._bank != bank:
            raise RuntimeError(f"outputs of bank {self._bank} are at hand, bank {bank} is asked")
        # Row by row from each array: mapped ones stay on the disk but for what is read.
        return torch.stack([self._outputs[i].index_select(0, rows) for i in which]).float()


def compute_outputs(
    model: nn.Module, data: TrainingData, views: Views, bank: int, numerics: Numerics
) -> Tensor:
    """A frozen model's logits on one view of every training image.

    In the images' own order and in batches of a fixed size, so that they are the same to the last
    bit whoever computes them.

    Args:
        model: from ``freeze``.
        views: of the training part.
        bank: which of each image's views.

    Returns:
        float16 [N, C], on the CPU.

    Raises:
        StageFailed: a logit isn't finite, or too large for float16.
    """
    with deterministic(numerics), torch.inference_mode():
        outputs = torch.cat(list(_batches(model, data, views, bank, numerics))).cpu()
    if not outputs.isfinite().all():
        raise StageFailed(
            "a teacher's outputs are not finite (or beyond 65504, what float16 holds); "
            "lower --lr, or try --outputs online"
        )
    return outputs


def _batches(
    model: nn.Module, data: TrainingData, views: Views, bank: int, numerics: Numerics
) -> Iterator[Tensor]:
    form = memory_format(numerics)
    for _, images in data.batches(data.in_order(), views, bank):
        with autocast(numerics):
            logits: Tensor = model(images.contiguous(memory_format=form))
        yield logits.half()


def freeze(model: nn.Module, device: torch.device, numerics: Numerics) -> nn.Module:
    """The model on a device as a teacher: in eval mode, without gradients."""
    model = model.to(device).to(memory_format=memory_format(numerics))
    return model.eval().requires_grad_(False)
