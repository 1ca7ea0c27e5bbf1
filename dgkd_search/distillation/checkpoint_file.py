"""Files of weights, recognized by their content: safetensors, and checkpoints of ``torch.save``.

No code of a file is run, and only the tensors that are asked for are read.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

import safetensors
from safetensors import SafetensorError
from torch import Tensor

from dgkd_search.distillation.checkpoint_pickle import Reader
from dgkd_search.distillation.stored_tensor import Damaged, Entries, StoredTensor
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.formatting import format_bytes

_HEAD = 512  # bytes that tell the kind of a file
# Limits that no checkpoint of such a network reaches, as a hostile one must not fill the memory.
_DESCRIPTION = 2**28  # bytes of the pickle in an archive
_STORAGE = 10**9  # bytes of a storage in an archive, which is read whole to verify its checksum
_TENSORS = 20_000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before version 1.6


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file of weights.

    Attributes:
        root: the saved object, in which ``StoredTensor`` stands for tensors, ``Entries`` for
            mappings and ``Inert`` for other objects.
        unknown: names of functions and classes in it that are not read.
    """

    root: object
    unknown: tuple[str, ...] = ()


@contextlib.contextmanager
def open_checkpoint(path: Path, label: str) -> Iterator[Checkpoint]:
    """Open a file of weights; its tensors can be read until the context ends.

    Args:
        path: a file of any suffix.
        label: begins messages.

    Raises:
        InputError: it cannot be read or is no file of weights. The same for the ``Damaged`` and
            ``OSError`` that the body raises while it reads tensors.
    """
    try:
        size = _size(path, label)
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            if _is_safetensors(head, size):
                with _open_safetensors(path) as checkpoint:
                    yield checkpoint
            elif head.startswith(b"PK\x03\x04"):
                with _open_archive(file) as archive:
                    yield _read_archive(archive)
            elif head.startswith(b"\x80"):
                yield _read_legacy(file, size)
            else:
                raise _not_weights(path, label, head)
    except OSError as error:
        raise InputError(f"{label}: can't be read ({error.strerror or error})") from None
    except (Damaged, SafetensorError) as error:
        why = one_line(error, 160)
        hint = "" if "; " in why else "; copy or save it again"
        raise InputError(f"{label}: is damaged or not a file of weights ({why}){hint}") from None


def _size(path: Path, label: str) -> int:
    """Return the size of a file in bytes; anything else, as a pipe, is not opened."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{label}: is a folder; name a file of weights in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{label}: is not a regular file; name a file of weights")
    return status.st_size


def _is_safetensors(head: bytes, size: int) -> bool:
    header = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= header <= size - 8


def _not_weights(path: Path, label: str, head: bytes) -> InputError:
    """Return the error for a file that is certainly no file of weights."""
    text = head.lstrip().lower()
    if path.suffix == ".safetensors":
        what, hint = "is not a safetensors file", "copy or save it again"
    else:
        what, hint = "is damaged or not a file of weights", "give a state dict"
    if not head:
        what, hint = f"{what} (it is empty)", "copy or save it again"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml")):
        what, hint = f"{what} (it is a web page)", "download the file that the page offers"
    elif text.startswith(b"version https://git-lfs"):
        what, hint = f"{what} (it is a pointer of Git LFS)", "run git lfs pull"
    return InputError(f"{label}: {what}; {hint}")


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Checkpoint]:
    with safetensors.safe_open(path, framework="pt") as file:

        def load(name: str) -> Tensor:
            tensor: Tensor = file.get_tensor(name)
            return tensor.clone()  # a mapped file may change

        root = Entries()
        names = file.keys()
        if len(names) > _TENSORS:
            raise Damaged(f"it has {len(names):,} tensors")
        for name in names:
            shape = tuple(file.get_slice(name).get_shape())
            root[name] = StoredTensor(shape, partial(load, name))
        yield Checkpoint(root)


def _open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except OSError:
        raise
    except Exception as error:  # a damaged directory may raise anything
        raise Damaged(one_line(error, with_class=True)) from None


def _read_archive(archive: zipfile.ZipFile) -> Checkpoint:
    """Read what ``torch.save`` has written since version 1.6."""
    entries = {info.filename: info for info in archive.infolist()}
    folders = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise Damaged("it is an archive, but not one of torch.save; save its state dict with it")
    (folder,) = folders
    if f"{folder}constants.pkl" in entries:
        raise Damaged("it is a TorchScript program; save the state_dict() of torch.jit.load(FILE)")

    @lru_cache(maxsize=1)  # tensors may share a storage
    def read(name: str) -> bytes:
        info = entries.get(f"{folder}{name}")
        if info is None:
            raise Damaged(f"it lacks {name}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Damaged(f"{name} is compressed, which torch.save never does")
        limit = _DESCRIPTION if name == "data.pkl" else _STORAGE
        if info.file_size > limit:
            raise Damaged(f"{name} is larger than {format_bytes(limit)}; save its state dict alone")
        try:
            return archive.read(info)
        except OSError:
            raise
        except Exception as error:  # cut off, encrypted, a wrong checksum, ...
            raise Damaged(f"{name}: {error}") from None

    def fetch(key: str, start: int, count: int) -> bytes:
        data = read(f"data/{key}")[start : start + count]
        if len(data) < count:
            raise Damaged(f"data/{key} holds fewer values than a tensor needs")
        return data

    if f"{folder}byteorder" in entries and read("byteorder").decode("latin1") != sys.byteorder:
        raise Damaged("it was saved with another byte order; save it as safetensors")
    reader = Reader(io.BytesIO(read("data.pkl")), fetch)
    return Checkpoint(reader.next(), reader.unknown)


def _read_legacy(file: IO[bytes], size: int) -> Checkpoint:
    """Read what ``torch.save`` wrote before version 1.6: five pickles, then the storages."""
    places: dict[str, tuple[int, int]] = {}  # first byte and size of each storage, by key

    def fetch(key: str, start: int, count: int) -> bytes:
        first, held = places.get(key, (0, 0))
        if start + count > held:
            raise Damaged(f"storage {key} holds fewer values than a tensor needs")
        file.seek(first + start)
        return file.read(count)

    reader = Reader(file, fetch)
    first = reader.next()
    if first != _MAGIC:
        return Checkpoint(first, reader.unknown)
    if reader.next() != _PROTOCOL:
        raise Damaged("its format is unknown")
    reader.next()  # byte order and sizes of the machine's types
    root_object = reader.next()
    keys = reader.next()
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise Damaged("it lacks the list of its storages")
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        held = count * reader.itemsizes.get(key, 1)
        if file.tell() + held > size:
            raise Damaged("it is cut off")
        places[key] = file.tell(), held
        file.seek(held, os.SEEK_CUR)
    return Checkpoint(root_object, reader.unknown)
