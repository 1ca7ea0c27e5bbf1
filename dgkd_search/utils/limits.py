"""Limits on files that others may have written; no sound file comes near them.

A file is measured before it is read, so that no file makes a process wait or take all memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from dgkd_search.utils.formatting import format_bytes
from dgkd_search.utils.hashing import from_checksummed_json

CONFIG_BYTES = 2**18  # of a --config file, a list of options
YAML_BYTES = 2**22  # of best.yaml, which lists classes and stages
JSON_BYTES = 2**23  # of a description in a store or a run folder
DATABASE_BYTES = 2**28  # of study.db
DATABASE_VALUE_BYTES = 2**22  # of one value in study.db
DATABASE_TRIALS = 50_000  # each costs Optuna a fraction of a millisecond
DATABASE_STEPS = 2 * 10**9  # instructions of SQLite for one query: about ten seconds


class TooLarge(ValueError):
    """A file exceeds its limit, or it has no size because it is not a regular file."""


def read_limited(path: Path, limit: int, *, pipes: bool = False) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Args:
        limit: in bytes.
        pipes: whether to read from pipes and devices too, as in ``--config <(command)``.

    Raises:
        OSError: the file can't be read.
        TooLarge: it is larger, or no regular file.
    """
    status = path.stat()
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        if status.st_size <= limit or stat.S_ISDIR(status.st_mode):
            return path.read_bytes()
    elif not pipes:
        raise TooLarge(f"{path.name} is not a regular file")
    else:
        with path.open("rb") as file:
            if len(data := file.read(limit + 1)) <= limit:
                return data
    raise TooLarge(f"{path.name} is larger than {format_bytes(limit)}, the limit")


def hash_file(path: Path) -> str:
    """Return the SHA-256 checksum, in hex, of a regular file, which is never held in memory.

    Raises:
        OSError: the file can't be read.
        TooLarge: it is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise TooLarge(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not JSON, nests too deeply, or exceeds ``JSON_BYTES``.
    """
    try:
        return json.loads(read_limited(path, JSON_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None


def read_checksummed_json(path: Path) -> dict[str, object]:
    """Return the value of a file that contains the result of ``to_checksummed_json``.

    Raises:
        OSError: the file can't be read.
        ValueError: it is damaged, or exceeds ``JSON_BYTES``.
    """
    return from_checksummed_json(read_limited(path, JSON_BYTES), path.name)


def tensors_limit() -> int:
    """Return the largest file of weights that this machine can work with: half of its memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
