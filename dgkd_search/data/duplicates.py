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

_MAX_OPENED = 100_000  # files; about two seconds on a local disk
_MAX_BYTES = 2**28
_TAIL = 4096  # the end of a file says more than its beginning: headers are often the same
_THREADS = 8  # a network drive answers each with a delay
_CHUNK = 256  # files of a task

_Tail = tuple[int, bytes]  # size of a file, and a hash of its end


@dataclass(frozen=True)
class Duplicates:
    """Files that have the bytes of a training file.

    Attributes:
        pairs: a training file and the other file, in the order of the other files.
        complete: whether everything was compared, so that there are no further pairs.
    """

    pairs: list[tuple[str, str]]
    complete: bool


class FileComparison:
    """Finds files with equal bytes; no file is read twice.

    Paths are strings, which are hashed several times faster than ``Path``.

    Args:
        max_opened: number of files that a search may open, at least 2.
        max_bytes: number of bytes that may be read to compare whole files, at least 0.
    """

    def __init__(self, max_opened: int = _MAX_OPENED, max_bytes: int = _MAX_BYTES) -> None:
        self._max_opened = max_opened
        self._bytes_left = max_bytes
        self._sizes: dict[str, int] = {}
        self._tails: dict[str, _Tail | None] = {}
        self._checksums: dict[str, bytes] = {}

    def duplicates(self, training: Sequence[str], others: Sequence[str]) -> Duplicates:
        """Find the files of another part whose bytes are those of a training file.

        Empty files are skipped, and so are files that cannot be read: decoding names them.

        Args:
            training: the training files.
            others: the files of the other part.
        """
        by_size: dict[int, list[str]] = {}
        for path in training:
            by_size.setdefault(self._size(path), []).append(path)
        by_size.pop(0, None)
        same_size = [(size, path) for path in others if (size := self._size(path)) in by_size]
        step = _step([size for size, _ in same_size], by_size, self._max_opened)
        chosen = same_size[::step]
        candidates = [path for size in dict(chosen) for path in by_size[size]]
        self._read_tails([*candidates, *(path for _, path in chosen)])
        by_tail: dict[_Tail | None, list[str]] = {}
        for path in candidates:
            by_tail.setdefault(self._tails[path], []).append(path)
        by_tail.pop(None, None)
        pairs: list[tuple[str, str]] = []
        complete = step == 1
        for _, path in chosen:
            for candidate in by_tail.get(self._tails[path], ()):
                equal = self._are_equal(candidate, path)
                complete = complete and equal is not None
                if equal:
                    pairs.append((candidate, path))
                    break
        return Duplicates(pairs, complete)

    def _size(self, path: str) -> int:
        if path not in self._sizes:
            try:
                self._sizes[path] = Path(path).stat().st_size
            except OSError:
                self._sizes[path] = 0
        return self._sizes[path]

    def _read_tails(self, paths: Iterable[str]) -> None:
        missing = [path for path in dict.fromkeys(paths) if path not in self._tails]
        chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for chunk, tails in zip(chunks, pool.map(_tails, chunks), strict=True):
                self._tails.update(zip(chunk, tails, strict=True))

    def _are_equal(self, first: str, second: str) -> bool | None:
        """Compare files of equal size and equal end; None if that would read too much."""
        size = self._size(first)
        if size <= _TAIL:
            return True
        needed = size * sum(path not in self._checksums for path in (first, second))
        try:
            if Path(first).samefile(second):
                return True
            if needed > self._bytes_left:
                return None
            self._bytes_left -= needed
            return self._checksum(first) == self._checksum(second)
        except OSError:
            return False

    def _checksum(self, path: str) -> bytes:
        if path not in self._checksums:
            with Path(path).open("rb") as file:
                self._checksums[path] = hashlib.file_digest(file, "sha256").digest()
        return self._checksums[path]


def _step(sizes: Sequence[int], by_size: Mapping[int, Sequence[str]], most: int) -> int:
    """Return the smallest power of two such that every such file can be compared."""
    step = 1
    while step < len(sizes):
        chosen = sizes[::step]
        if len(chosen) + sum(len(by_size[size]) for size in set(chosen)) <= most:
            break
        step *= 2
    return step


def _tails(paths: Sequence[str]) -> list[_Tail | None]:
    return [_tail(path) for path in paths]


def _tail(path: str) -> _Tail | None:
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return size, hashlib.blake2b(file.read(_TAIL), digest_size=16).digest()
    except OSError:
        return None
