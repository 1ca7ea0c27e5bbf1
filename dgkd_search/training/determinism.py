"""Applying numerics, which affect the last bits: threads, precision, memory format, compilation.

Settings come from options and a fixed table (``recipe.NUMERICS``), never from a benchmark at start:
equal options must give equal weights.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dgkd_search.training.recipe import Numerics

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30  # bytes


def memory_format(numerics: Numerics) -> torch.memory_format:
    last = numerics.memory_format == "channels_last"
    return torch.channels_last if last else torch.contiguous_format


def autocast(numerics: Numerics) -> contextlib.AbstractContextManager[None]:
    """Set the precision of a forward pass; the loss is always computed in float32."""
    if numerics.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(numerics.device_type, torch.bfloat16)


def maybe_compile(model: nn.Module, numerics: Numerics) -> Callable[[Tensor], Tensor]:
    """Return the callable that training uses for ``model``, compiled if ``numerics`` says so."""
    if not numerics.compiled:
        return model
    # Compilations of all models of a class count toward one limit, above which torch silently stops
    # compiling: a model's last bits would depend on the models trained before it.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False)
    return compiled


@contextlib.contextmanager
def deterministic(numerics: Numerics) -> Iterator[None]:
    """Set the number of threads, and select deterministic kernels."""
    disable_malloc_trim()
    threads = torch.get_num_threads()
    torch.set_num_threads(numerics.threads)
    try:
        # the default, enabled=False, would turn cuDNN off
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def disable_malloc_trim() -> None:
    """Make this process keep freed memory instead of returning it to the system.

    Activations are allocated at every step. By default, glibc maps large ones anew, and the system
    clears their pages, every time; experiments/bench_numerics.py measures the cost. Results do not
    change.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
