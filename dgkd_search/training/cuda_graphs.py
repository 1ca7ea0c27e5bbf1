"""CUDA graphs: launch all kernels of a training step at once.

A step of a small network has about two hundred kernels of a few microseconds each, which the host
launches more slowly than the GPU runs them (experiments/figures/gpu_h200.jsonl). Weights are the
same to the last bit: a graph is kept only if a replay gives the results of the step itself.
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
# Maps a function and its input buffers to a callable that runs it on them, and its result buffers.
Capture = Callable[[Function, Tensors], tuple[Callable[[], None], Tensors]]

SWITCH = "DGKD_CUDA_GRAPHS"
# Calls of one shape before it is captured: libraries initialize themselves in the first ones, and a
# shape that occurs only a few times is not worth a graph.
_CALLS_BEFORE = 3
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def graphs_apply(spec: StageSpec, device: torch.device) -> bool:
    """Return whether the steps of a stage are captured.

    Steps with a custom network or loss are not, because Python code (such as a random depth or a
    counter) would run only once, during the capture. Compiled steps are not either. The environment
    variable ``DGKD_CUDA_GRAPHS=0`` turns graphs off.
    """
    return (
        device.type == "cuda"
        and not spec.origins
        and not spec.numerics.compiled
        and os.environ.get(SWITCH) != "0"
    )


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Run the body on a stream that can be captured, ordered with the work before and after it."""
    outer, stream = torch.cuda.current_stream(device), _stream(device)
    stream.wait_stream(outer)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        outer.wait_stream(stream)


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    # one per process, because torch caches memory per stream
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


class Graphed:
    """A function of tensors, replayed as one CUDA graph for each shape of its inputs.

    Results are in the graph's own memory and valid until the next call.

    Args:
        function: changes nothing but ``state``, draws no random numbers, and does not branch on a
            tensor's value.
        state: tensors that a call changes in place, such as batch normalization statistics.
        capture: replaces CUDA's capture in tests on CPUs.
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
        """Return the results of ``function``, the same to the last bit."""
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
        """Free the graphs and their memory, and use none from now on.

        Returns:
            Whether there were any.
        """
        held = bool(self._graphs)
        self._on = False
        self._graphs.clear()
        return held

    def _plain(self, inputs: Tensors) -> Tensors:
        """Call the function without a graph; if memory is short, free the graphs and retry."""
        if not self._graphs:
            return self._function(*inputs)
        before = _copies(self._state)
        with contextlib.suppress(torch.OutOfMemoryError):
            return self._function(*inputs)
        self.release()
        torch.cuda.empty_cache()  # does nothing without a GPU
        _restore(self._state, before)
        return self._function(*inputs)

    def _first(self, shapes: object, inputs: Tensors) -> Tensors:
        """Call the function directly and as a graph; keep the graph if the results are equal."""
        before = _copies(self._state)
        results = self._plain(inputs)
        if not self._on:
            return results
        after = _copies(self._state)
        problem = "a replay differs from the step"
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

    The graphs of one function share memory. This is safe because no graph needs another's memory
    except its results, which are consumed before the next replay.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        # A graph occupies as much memory as a step, in addition to other steps and evaluations.
        free, _ = torch.cuda.mem_get_info()
        if free < 2 * torch.cuda.memory_reserved():
            raise torch.OutOfMemoryError("no room for a graph")
        graph = torch.cuda.CUDAGraph()
        # thread_local, because other threads may allocate meanwhile: loaders pin memory.
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
    """Compare bit for bit, so that NaN equals NaN; waits for the device."""
    equal = [
        (a.detach().view(_BITS[a.itemsize]) == b.detach().view(_BITS[b.itemsize])).all()
        for a, b in zip(one, other, strict=True)
        if a is not None and b is not None
    ]
    return bool(torch.stack(equal).all()) if equal else True


def _warn(what: str) -> None:
    warnings.warn(
        f"{what}; training goes on without CUDA graphs: same results, slower",
        RuntimeWarning,
        stacklevel=2,
    )
