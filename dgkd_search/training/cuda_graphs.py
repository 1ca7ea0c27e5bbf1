"""CUDA graphs: a step's kernels launched at once, where one by one the GPU waits for the host.

A step of a small network is some two hundred kernels of a few microseconds each, and takes the
host longer to launch than the GPU to run (experiments/figures/gpu_h200.jsonl). Weights
are the same to the last bit: a graph is kept only after a replay gave what the step itself gave.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dgkd_search.errors import one_line
from dgkd_search.training.spec import StageSpec

Tensors = tuple[Tensor | None, ...]
Function = Callable[..., Tensors]
# From a function and its input buffers: how to run it on them, and where the results then lie.
Capture = Callable[[Function, Tensors], tuple[Callable[[], None], Tensors]]

SWITCH = "DGKD_CUDA_GRAPHS"
# Calls of one shape before it is captured: the libraries set themselves up in the first, and what
# comes a few times in all is not worth a graph.
_CALLS_BEFORE = 3
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def graphs_apply(spec: StageSpec, device: torch.device) -> bool:
    """Whether the steps of a stage are captured.

    Not those of a user's own network or loss: what its code does in Python (a depth drawn anew, a
    count of calls) would happen once, at the capture. Not compiled ones. ``DGKD_CUDA_GRAPHS=0`` in
    the environment turns graphs off.
    """
    return (
        device.type == "cuda"
        and not spec.origins
        and not spec.numerics.compiled
        and os.environ.get(SWITCH) != "0"
    )


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """A stream that can be captured, in order with what comes before and after."""
    outer, stream = torch.cuda.current_stream(device), _stream(device)
    stream.wait_stream(outer)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        outer.wait_stream(stream)


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    # one a process: memory is kept by stream
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


class Graphed:
    """A function of tensors, replayed as one CUDA graph for each shape of its inputs.

    Results lie in the graph's own memory: they hold until the next call.

    Args:
        function: without effect but on ``state`` and its results; draws nothing, and decides
            nothing by a tensor's value.
        state: what a call changes in place, as the statistics of batch normalization.
        capture: replaced by tests, on CPUs.
    """

    def __init__(
        self, function: Function, state: Iterable[Tensor] = (), capture: Capture | None = None
    ) -> None:
        self._function = function
        self._state = list(state)
        self._capture = capture or _CudaCapture()
        self._graphs: dict[object, _Graph] = {}
        self._calls: Counter[object] = Counter()
        self._on = True

    def __call__(self, *inputs: Tensor | None) -> Tensors:
        """What ``function`` returns, to the last bit."""
        if not self._on:
            return self._function(*inputs)
        shapes = tuple(None if x is None else (x.shape, x.stride(), x.dtype) for x in inputs)
        graph = self._graphs.get(shapes)
        if graph is not None:
            return graph.replay(inputs)
        self._calls[shapes] += 1
        if self._calls[shapes] <= _CALLS_BEFORE:
            return self._plain(inputs)
        return self._first(shapes, inputs)

    def release(self) -> bool:
        """Give back the graphs and what they hold, and use none from now on.

        Returns:
            Whether there were any.
        """
        held = bool(self._graphs)
        self._on = False
        self._graphs.clear()
        return held

    def _plain(self, inputs: Tensors) -> Tensors:
        """A call as it is; where memory lacks that graphs hold, without them from now on."""
        if not self._graphs:
            return self._function(*inputs)
        before = _copies(self._state)
        with contextlib.suppress(torch.OutOfMemoryError):
            return self._function(*inputs)
        self.release()
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        _restore(self._state, before)
        return self._function(*inputs)

    def _first(self, shapes: object, inputs: Tensors) -> Tensors:
        """One call, as it is and as a graph; the graph is kept if both give the same bits."""
        before = _copies(self._state)
        results = self._plain(inputs)
        if not self._on:
            return results
        after = _copies(self._state)
        problem = "a replay gave other bits than the step"
        try:
            buffers = tuple(None if x is None else torch.empty_like(x) for x in inputs)
            graph = _Graph(buffers, *self._capture(self._function, buffers))
            _restore(self._state, before)
            replayed = graph.replay(inputs)
            if _same_bits((*results, *after), (*replayed, *self._state)):
                self._graphs[shapes] = graph
                return replayed
        except torch.OutOfMemoryError:
            problem = ""
        except RuntimeError as error:
            problem = f"the step can't be captured ({one_line(error, 200)})"
        _restore(self._state, after)
        self.release()
        if problem:
            _warn(problem)
        return results


@dataclass(frozen=True)
class _Graph:
    inputs: Tensors
    run: Callable[[], None]
    results: Tensors

    def replay(self, inputs: Tensors) -> Tensors:
        for buffer, value in zip(self.inputs, inputs, strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value)
        self.run()
        return self.results


class _CudaCapture:
    """Captures on the current stream, which must not be the default one.

    The graphs of one function share memory: none needs what another left, but its results, which
    are used up before the next replay.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        # A graph holds what a step holds, beside what other steps and evaluations need.
        free, _ = torch.cuda.mem_get_info()
        if free < 2 * torch.cuda.memory_reserved():
            raise torch.OutOfMemoryError("no room for a graph")
        graph = torch.cuda.CUDAGraph()
        # Other threads of this process may allocate meanwhile: loaders pin memory.
        with torch.cuda.graph(
            graph,
            pool=self._pool,
            stream=torch.cuda.current_stream(),
            capture_error_mode="thread_local",
        ):
            results = function(*inputs)
        return graph.replay, results


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _same_bits(one: Tensors, other: Tensors) -> bool:
    """Bit for bit, so that a NaN equals itself; waits for the device."""
    equal = [
        (a.detach().view(_BITS[a.itemsize]) == b.detach().view(_BITS[b.itemsize])).all()
        for a, b in zip(one, other, strict=True)
        if a is not None and b is not None
    ]
    return bool(torch.stack(equal).all()) if equal else True


def _warn(what: str) -> None:
    warnings.warn(
        f"{what}: trained without CUDA graphs, with the same results in more time",
        RuntimeWarning,
        stacklevel=2,
    )
