"""All tensors that a network holds, wherever it holds them, and their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_REGISTERED = ("_parameters", "_buffers", "_modules")  # attributes of a module with its tensors


def tensors_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return all tensors that a network holds, with their paths.

    Besides parameters and buffers, also those that are not saved, these are tensors, arrays and
    networks in plain attributes, lists and dictionaries.
    """
    found: list[tuple[str, Tensor]] = []
    seen: set[int] = set()
    pending: list[tuple[str, object]] = [("", network)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value = _from_array(value)
        if isinstance(value, Tensor):
            if not is_lazy(value) and not value.is_meta:  # see ``require_tensors``
                found.append((path, value))
            continue
        inside = _inside(value)
        if inside and id(value) not in seen:
            seen.add(id(value))  # modules and containers may hold themselves
            pending += [(f"{path}.{name}" if path else name, part) for name, part in inside]
    return found


def _from_array(array: npt.NDArray[Any]) -> Tensor:
    """Return a copy of an array; torch has no other byte orders, and no longer floats."""
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind in "fc":
        dtype = min(dtype, np.dtype("f8" if dtype.kind == "f" else "c16"))
    return torch.from_numpy(np.array(array, dtype, order="C"))


def _inside(value: object) -> list[tuple[str, object]]:
    """Return what a module or container holds, by name; nothing for other objects."""
    if isinstance(value, nn.Module):
        return [
            # By methods, which scripted modules have too.
            *value.named_parameters(recurse=False, remove_duplicate=False),
            *value.named_buffers(recurse=False, remove_duplicate=False),
            *value.named_children(),
            *((name, part) for name, part in vars(value).items() if name not in _REGISTERED),
        ]
    if isinstance(value, dict):
        return [(str(name), part) for name, part in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), part) for index, part in enumerate(value)]
    return []


def content_of(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return the bytes of a tensor, uint8 [elements, bytes of an element]."""
    if tensor.is_nested:
        raise TypeError("it is nested")
    dense = tensor.detach()
    if dense.is_quantized:
        dense = dense.dequantize()
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    dense = dense.cpu().resolve_conj().resolve_neg().contiguous()
    content: npt.NDArray[np.uint8] = dense.reshape(-1).view(torch.uint8).numpy()
    return content.reshape(dense.numel(), dense.element_size())
