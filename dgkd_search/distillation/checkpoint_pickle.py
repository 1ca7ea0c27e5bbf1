"""The pickles in checkpoints of ``torch.save``, read without running any code of theirs.

A pickle names functions and calls them. Here every name stands for an inert class of this module,
except the names with which torch describes tensors; nothing is imported, and no tensor is read.
``torch.load(weights_only=True)`` also runs no code, but it refuses every checkpoint with a class
that it doesn't know (the Namespace of a script, a NumPy scalar) and pickles of later protocols, and
it allocates the memory that a file promises.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

# Limits per file, without the values of tensors.
_STEPS = 500_000  # a state dict takes about 30 per tensor; all take a second or two
_BYTES = 2**28
_LINE = 2**16
_CLASSES = 1000


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
class _StorageType:
    dtype: torch.dtype


@dataclass(frozen=True)
class _Storage:
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
_STORAGES = {f"{name}Storage": dtype for name, dtype in _NAMES.items()}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_KINDS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_qtensor": "quantized",
    "_rebuild_meta_tensor_no_storage": "meta",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_mkldnn_tensor": "mkldnn",
    "_rebuild_wrapper_subclass": "of a subclass of torch.Tensor",
}


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
    if not isinstance(storage, _Storage):
        raise Damaged("it is a pickle of other code; save its state dict with torch.save")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
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


def _odd(kind: str) -> Callable[..., StoredTensor]:
    def load() -> Tensor:
        raise Damaged(f"a tensor is {kind}")

    return lambda *_, **__: StoredTensor((), load, kind)


def _first(data: object, *_: object) -> object:
    """Return the tensor of a parameter."""
    return data


def _from_type(rebuild: Callable[..., object], _: object, args: Any, *__: object) -> object:
    """Describe a tensor with attributes, as ``torch._tensor._rebuild_from_type_v2``."""
    return rebuild(*args)


_REBUILD: Mapping[tuple[str, str], Callable[..., object]] = {
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


# Opcodes for objects that other code has registered, and for buffers that torch never writes.
_REFUSED = {
    opcode[0]
    for opcode in (
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
        *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    )
}


class _Limited:
    """A file that ends an unreasonable pickle early."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._steps, self._bytes = _STEPS, _BYTES

    def spend(self, steps: int, count: int) -> None:
        self._steps -= steps
        self._bytes -= count
        if self._steps < 0 or self._bytes < 0:
            raise Damaged("it holds too much beside tensors; save its state dict alone")

    def read(self, count: int) -> bytes:
        self.spend(1, count)  # before the memory is allocated
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(_LINE)
        self.spend(1, len(line))
        return line


class Reader(pickle._Unpickler):
    """Reads pickles one after another from a file.

    It is the unpickler in Python, not the faster one in C, as a few bytes can make the latter
    allocate gigabytes.

    Args:
        file: is read from its position.
        fetch: reads a part of a storage.

    Attributes:
        itemsizes: bytes per element of each storage, by key.
    """

    stack: list[Any]
    append: Any
    pop_mark: Any
    read: Any
    _unframer: Any

    def __init__(self, file: IO[bytes], fetch: Fetch) -> None:
        self._limited = _Limited(file)
        super().__init__(self._limited, encoding="latin1")
        self._fetch = fetch
        self._classes: dict[tuple[str, str], type[Inert]] = {}
        self.itemsizes: dict[str, int] = {}

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of functions and classes that the pickles hold beside tensors."""
        return tuple(sorted(found.origin for found in self._classes.values()))

    def next(self) -> object:
        """Return the next object.

        Raises:
            Damaged: the pickle is damaged or too large.
        """
        self.memo: dict[int, object] = {}
        try:
            return self.load()
        except Damaged:
            raise
        except Exception as error:  # a damaged pickle may raise anything
            raise Damaged(f"unreadable pickle: {type(error).__name__} {error}") from None

    def find_class(self, module: str, name: str) -> object:
        known = _REBUILD.get((module, name))
        if known is not None:
            return known
        if module == "torch._utils" and name in _KINDS:
            return _odd(_KINDS[name])
        if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if len(self._classes) == _CLASSES:
            raise Damaged("it holds too much beside tensors; save its state dict alone")
        made = type("Inert", (Inert,), {"origin": f"{module}.{name}"})
        return self._classes.setdefault((module, name), made)

    def persistent_load(self, pid: Any) -> object:
        if pid[0] == "module":  # the class of a network, with its source
            return pid[1]
        kind, storage_type, key, _, count, *view = pid
        start = 0
        if view and view[0] is not None:  # a part of a storage, in files of early versions
            _, start, count = view[0]
        if kind != "storage" or any(type(n) is not int or n < 0 for n in (start, count)):
            raise Damaged("a storage has an impossible description")
        dtype = storage_type.dtype
        self.itemsizes.setdefault(str(key), dtype.itemsize)
        size = dtype.itemsize
        return _Storage(str(key), dtype, start * size, count * size, self._fetch)

    # Steps of the unpickler that differ from those of the standard library.

    def _load_entries(self) -> None:
        self.append(Entries())

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append(Entries([list(pair) for pair in zip(items[::2], items[1::2], strict=True)]))

    def _load_bytearray(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def _load_set(self) -> None:
        self.append(Inert())

    def _load_frozenset(self) -> None:
        self.pop_mark()
        self.append(Inert())

    def _load_build(self) -> None:
        """Drop the state of an object, as it could change the objects of this module."""
        self.stack.pop()

    def _load_frame(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self._limited.spend(size, 0)  # each byte may be a step
        self._unframer.load_frame(size)

    dispatch: ClassVar[dict[int, Any]] = {
        **{code: step for code, step in pickle._Unpickler.dispatch.items() if code not in _REFUSED},
        pickle.EMPTY_DICT[0]: _load_entries,
        pickle.DICT[0]: _load_dict,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.EMPTY_SET[0]: _load_set,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BUILD[0]: _load_build,
        pickle.FRAME[0]: _load_frame,
    }
