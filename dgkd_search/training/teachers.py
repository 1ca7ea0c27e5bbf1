"""The teachers of a learner: frozen models run on every batch, or outputs that were computed once.

This module knows neither the store nor trials.
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
        """Return teacher logits on one mini-batch, float [len(which), B, C] without gradient.

        Args:
            which: indices of the surviving teachers, ascending, at least one.
            images: the views, normalized float [B, channels, size, size].
            rows: rows of the images in the training set, int64 [B] on the data's device.
            bank: number of the bank of views.
        """


class OnlineTeachers:
    """Teachers that are run on every batch, except dropped ones.

    Args:
        models: the trained models; they are frozen.
        device: the learner's device.
        numerics: numerics of the forward pass.
        graphs: whether to run them as CUDA graphs; see ``cuda_graphs.graphs_apply``.
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
        # Cloned, because autograd cannot save an inference tensor for the learner's loss.
        return logits.clone()


def _forward_of(model: nn.Module) -> Function:
    return lambda images: (model(images),)


class CachedTeachers:
    """Teachers whose outputs on one bank of views are held on the learner's device.

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
        """Use these outputs from now on: one float16 [N, C] per teacher."""
        if len(outputs) != self._count:
            raise ValueError(f"{self._count} outputs needed, got {len(outputs)}")
        self._bank, self._outputs = bank, tuple(outputs)

    def drop(self) -> None:
        """Release the current bank's outputs, to free memory for the next bank."""
        self._bank, self._outputs = None, ()

    def holds(self, bank: int) -> bool:
        return self._bank == bank

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        if self._bank != bank:
            raise RuntimeError(f"bank {bank} requested, but outputs of bank {self._bank} are held")
        # Select rows from each array: of mapped arrays, only these rows are read from disk.
        return torch.stack([self._outputs[i].index_select(0, rows) for i in which]).float()


def compute_outputs(
    model: nn.Module, data: TrainingData, views: Views, bank: int, numerics: Numerics
) -> Tensor:
    """Compute a teacher's logits on one view of every training image.

    Images are processed in dataset order and in batches of a fixed size, so that every process gets
    the same bits.

    Args:
        model: a model from ``freeze``.
        data: the training data.
        views: the views of the training set.
        bank: number of the bank of views.
        numerics: numerics of the forward pass.

    Returns:
        float16 [N, C] on the CPU.

    Raises:
        StageFailed: a logit is not finite or too large for float16.
    """
    with deterministic(numerics), torch.inference_mode():
        outputs = torch.cat(list(_batches(model, data, views, bank, numerics))).cpu()
    if not outputs.isfinite().all():
        raise StageFailed(
            "a teacher's outputs are not finite, or beyond the range of float16 (65504); "
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
    """Move a model to a device as a teacher: in eval mode, without gradients."""
    model = model.to(device).to(memory_format=memory_format(numerics))
    return model.eval().requires_grad_(False)
