"""The pickles in checkpoints of ``torch.save``, read without running any code of theirs.

A pickle names functions and calls them. Here every name stands for an inert class of this package,
except the names with which torch describes tensors; nothing is imported, and no tensor is read.
``torch.load(weights_only=True)`` also runs no code, but it refuses every checkpoint with a class
that it doesn't know (the Namespace of a script, a NumPy scalar) and pickles of later protocols, and
it allocates the memory that a file promises.
"""

from __future__ import annotations

import pickle
from typing import IO, Any, ClassVar

from dgkd_search.distillation.stored_tensor import (
    DTYPES,
    KINDS,
    REBUILD,
    STORAGES,
    Damaged,
    Entries,
    Fetch,
    Inert,
    Storage,
    StorageType,
    is_count,
    odd,
)

# Limits per file, without the values of tensors.
_STEPS = 500_000  # a state dict takes about 30 per tensor; all take a second or two
_BYTES = 2**28
_LINE = 2**16
_CLASSES = 1000

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
        known = REBUILD.get((module, name))
        if known is not None:
            return known
        if module == "torch._utils" and name in KINDS:
            return odd(KINDS[name])
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return StorageType(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
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
        # The text of another key, such as a nested tuple, could take all memory.
        if kind != "storage" or type(key) is not str or not (is_count(start) and is_count(count)):
            raise Damaged("a storage has an impossible description")
        dtype = storage_type.dtype
        self.itemsizes.setdefault(key, dtype.itemsize)
        size = dtype.itemsize
        return Storage(key, dtype, start * size, count * size, self._fetch)

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
