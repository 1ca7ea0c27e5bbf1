"""A stand-in for CUDA graphs on a CPU: the same buffers, but calls instead of replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dgkd_search.training.cuda_graphs import Function, Tensors


class StandIn:
    """Captures as CUDA does: running the function has no effect but to allocate its results.

    Args:
        state: tensors that the function changes in place.

    Attributes:
        captures, replays: number of calls.
    """

    def __init__(self, state: Iterable[Tensor] = ()) -> None:
        self._state = list(state)
        self.captures = self.replays = 0

    def __call__(self, function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        self.captures += 1
        for buffer in inputs:
            if buffer is not None:
                buffer.zero_()  # unlike CUDA, this runs the function, which needs valid labels
        before = [tensor.clone() for tensor in self._state]
        results = function(*inputs)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        # Results must not be usable before a replay.
        with torch.no_grad():
            for result in results:
                if result is not None:
                    result.fill_(-1)

        def run() -> None:
            self.replays += 1
            with torch.no_grad():
                new = [None if x is None else x.clone() for x in _run(function, inputs)]
                for place, value in zip(results, new, strict=True):
                    if place is not None and value is not None:
                        place.copy_(value)

        return run, results


def _run(function: Function, inputs: Tensors) -> Tensors:
    with torch.enable_grad():
        return function(*inputs)
