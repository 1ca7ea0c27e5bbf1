"""Stand-ins for the objects of a checkpoint: tensors that are not read yet, and inert objects.

The functions describe tensors. They take the arguments with which torch rebuilds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


class Damaged(ValueError):
    """A checkpoint does not hold what it should."""


# From the key of a storage, its first byte and the number of bytes to these bytes.
Fetch = Callable[[str, int, int], bytes]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, which is not read yet.

    Attributes:
        shape: its shape.
        load: reads the tensor; raises ``Damaged`` if the file does not hold it.
        kind: what is unusual, for example ``sparse``; such a tensor cannot be loaded.
    """

    shape: tuple[int, ...]
    load: Callable[[], Tensor]
    kind: str = ""


class Entries(dict[str, object]):
    """A mapping in a pickle; keys other than strings are left out."""

    def __init__(self, *items: object) -> None:
        super().__init__()
        for pair in items[0] if items and isinstance(items[0], list) else ():
            if isinstance(pair, list | tuple) and len(pair) == 2:
                self[pair[0]] = pair[1]

    def __setitem__(self, key: object, value: object) -> None:
        # Also security: the hash of a deeply nested tuple would overflow the stack.
        if isinstance(key, str):
            super().__setitem__(key, value)


class Inert(Entries):
    """A stand-in for an object of any class; it keeps the entries of a mapping, nothing else.

    Attributes:
        origin: module and name of the object's class.
    """

    origin: ClassVar[str] = ""

    def __new__(cls, *_: object, **__: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def ignore(self, *_: object) -> None:
        """Do nothing; stands for the methods that fill a list or a set."""

    append = extend = add = ignore


@dataclass(frozen=True)
class StorageType:
    dtype: torch.dtype


@dataclass(frozen=True)
class Storage:
    key: str
    dtype: torch.dtype
    start: int  # in bytes
    size: int  # in bytes
    fetch: Fetch


_NAMES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "QInt8": torch.qint8,
    "QUInt8": torch.quint8,
    "QInt32": torch.qint32,
    "Untyped": torch.uint8,
}
STORAGES = {f"{name}Storage": dtype for name, dtype in _NAMES.items()}
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
KINDS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_qtensor": "quantized",
    "_rebuild_meta_tensor_no_storage": "meta",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_mkldnn_tensor": "mkldnn",
    "_rebuild_wrapper_subclass": "of a subclass of torch.Tensor",
}


def is_count(value: object) -> bool:
    """Return whether a value is an integer in 0..2^63-1; a pickle may hold one of 100 MB."""
    return type(value) is int and 0 <= value < 2**63


def _tensor(storage: object, offset: int, size: Any, stride: Any, *rest: object) -> StoredTensor:
    """Describe a tensor; the arguments are those of ``torch._utils._rebuild_tensor_v2``."""
    metadata = rest[2] if len(rest) > 2 else None
    return _view(storage, None, offset, size, stride, metadata)


def _typed(storage: object, offset: int, size: Any, stride: Any, *rest: Any) -> StoredTensor:
    """Describe a tensor; the arguments are those of ``torch._utils._rebuild_tensor_v3``."""
    return _view(storage, rest[2], offset, size, stride, rest[3] if len(rest) > 3 else None)


def _view(
    storage: object,
    dtype: torch.dtype | None,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    metadata: object,
) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise Damaged("it is a pickle of other code; save its state dict with torch.save")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(is_count(n) for n in numbers):
        raise Damaged("a tensor has an impossible shape")
    dtype = dtype or storage.dtype
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = 0 if 0 in size else last + 1
    if (offset + count) * dtype.itemsize > storage.size:
        raise Damaged("a tensor is larger than its storage")

    def load() -> Tensor:
        if not count:
            return torch.empty(size, dtype=dtype)
        start = storage.start + offset * dtype.itemsize
        data = storage.fetch(storage.key, start, count * dtype.itemsize)
        return torch.frombuffer(bytearray(data), dtype=dtype).as_strided(size, stride).clone()

    # Lazy conjugation and negation: bits of a tensor that say that its values mean others.
    return StoredTensor(tuple(size), load, "lazily negated" if metadata else "")


def odd(kind: str) -> Callable[..., StoredTensor]:
    def load() -> Tensor:
        raise Damaged(f"a tensor is {kind}")

    return lambda *_, **__: StoredTensor((), load, kind)


def _first(data: object, *_: object) -> object:
    """Return the tensor of a parameter."""
    return data


def _from_type(rebuild: Callable[..., object], _: object, args: Any, *__: object) -> object:
    """Describe a tensor with attributes, as ``torch._tensor._rebuild_from_type_v2``."""
    return rebuild(*args)


REBUILD: Mapping[tuple[str, str], Callable[..., object]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.nn.parameter", "Parameter"): _first,
    ("collections", "OrderedDict"): Entries,
}
