"""Images whose bytes are in the training set and in another part too.

Files of equal size are compared by their last 4 KiB, and those that agree as a whole. This stays
within seconds: if more than 100,000 files would be opened, an evenly spaced sample is compared,
and at most 256 MiB of whole files are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_MAX_OPENED = 100_000  # files
_MAX_BYTES = 2**28
_TAIL = 4096  # the end of a file says more than its beginning: headers are often the same
_THREADS = 8  # network drives answer slowly

_K = TypeVar("_K")
_Tail = tuple[int, bytes]  # size of the file, and a hash of its end


@dataclass(frozen=True)
class Duplicates:
    """Files that have the bytes of a training file.

    Attributes:
        pairs: a training file and the other file, in the order of the other files.
        complete: whether everything was compared, so that there are no further pairs.
    """

    pairs: list[tuple[Path, Path]]
    complete: bool


def find_duplicates(
    training: Sequence[Path],
    others: Sequence[Path],
    max_opened: int = _MAX_OPENED,
    max_bytes: int = _MAX_BYTES,
) -> Duplicates:
    """Find the files of another part whose bytes are those of a training file.

    Empty files are skipped, and so are files that cannot be read: decoding names them.

    Args:
        training: the training files.
        others: the files of the other part.
        max_opened: number of files that may be opened, at least 2.
        max_bytes: number of bytes that may be read to compare whole files, at least 0.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        by_size = _group(pool.map(_size, training), training)
        pairs = zip(pool.map(_size, others), others, strict=True)
        same_size = [(size, path) for size, path in pairs if size in by_size]
        chosen = same_size[:: _step([size for size, _ in same_size], by_size, max_opened)]
        sizes = {size: None for size, _ in chosen}
        candidates = [path for size in sizes for path in by_size[size]]
        by_tail = _group(pool.map(_tail, candidates), candidates)
        tails = list(pool.map(_tail, [path for _, path in chosen]))
    files = _WholeFiles(max_bytes)
    found: list[tuple[Path, Path]] = []
    for tail, (_, path) in zip(tails, chosen, strict=True):
        for candidate in by_tail.get(tail, ()) if tail else ():
            if files.are_equal(candidate, path):
                found.append((candidate, path))
                break
    return Duplicates(found, len(chosen) == len(same_size) and not files.exhausted)


class _WholeFiles:
    """Compares whole files of equal size and equal end.

    Args:
        max_bytes: number of bytes that may be read; afterwards no files count as equal.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._checksums: dict[Path, bytes] = {}
        self.exhausted = False

    def are_equal(self, first: Path, second: Path) -> bool:
        try:
            size = first.stat().st_size
            if size <= _TAIL or first.samefile(second):
                return True
            self._left -= size * sum(path not in self._checksums for path in (first, second))
            if self._left < 0:
                self.exhausted = True
                return False
            return self._checksum(first) == self._checksum(second)
        except OSError:
            return False

    def _checksum(self, path: Path) -> bytes:
        if path not in self._checksums:
            with path.open("rb") as file:
                self._checksums[path] = hashlib.file_digest(file, "sha256").digest()
        return self._checksums[path]


def _step(sizes: Sequence[int | None], by_size: Mapping[int, Sequence[Path]], most: int) -> int:
    """Return the smallest power of two such that every so-manieth file can be compared."""
    step = 1
    while step < len(sizes):
        chosen = sizes[::step]
        if len(chosen) + sum(len(by_size[size]) for size in {*chosen} if size) <= most:
            break
        step *= 2
    return step


def _group(keys: Iterable[_K | None], paths: Iterable[Path]) -> dict[_K, list[Path]]:
    groups: dict[_K, list[Path]] = {}
    for key, path in zip(keys, paths, strict=True):
        if key is not None:
            groups.setdefault(key, []).append(path)
    return groups


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size or None
    except OSError:
        return None


def _tail(path: Path) -> _Tail | None:
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            return size, hashlib.blake2b(file.read(_TAIL), digest_size=16).digest()
    except OSError:
        return None
