"""What decides the last bits, made so: threads, precision, memory format, compilation.

Settings come from a fixed table (``recipe.NUMERICS``) and options, never from a timing at start:
identical options must mean identical weights.
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
    """The precision of a forward pass; the loss is computed in float32 whatever it is."""
    if numerics.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(numerics.device_type, torch.bfloat16)


def maybe_compile(model: nn.Module, numerics: Numerics) -> Callable[[Tensor], Tensor]:
    """``model`` as training calls it: compiled, where ``numerics`` says so."""
    if not numerics.compiled:
        return model
    # What torch compiled for other models of the class counts against one limit, beyond which it
    # silently stops compiling: a model's last bits would depend on what was trained before it.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False)
    return compiled


@contextlib.contextmanager
def deterministic(numerics: Numerics) -> Iterator[None]:
    """The number of threads, and kernels that always sum in one order."""
    disable_malloc_trim()
    threads = torch.get_num_threads()
    torch.set_num_threads(numerics.threads)
    try:
        # enabled is False by default here, which would leave cuDNN out altogether
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def disable_malloc_trim() -> None:
    """Have this process keep memory that it frees, instead of handing it back to the system.

    Activations of a batch are allocated anew at every step; by glibc's defaults the larger ones
    are mapped, and their pages cleared, every time. experiments/bench_numerics.py measures what
    that costs. Changes no result.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
