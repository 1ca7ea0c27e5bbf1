"""Canonical JSON, hashes, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

_CHECKSUM = "checksum"
# Errors that unexpected or damaged JSON may raise while it is parsed into values.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def to_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def with_checksum(value: Mapping[str, object]) -> dict[str, object]:
    """Add a checksum to ``value``, which has plain JSON types."""
    return {**value, _CHECKSUM: sha256(to_json(value))}


def verify_checksum(value: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the argument of ``with_checksum``.

    Args:
        value: the result of ``with_checksum``.
        name: name of the value in messages.

    Raises:
        ValueError: the value doesn't match its checksum.
    """
    content = {key: part for key, part in value.items() if key != _CHECKSUM}
    if value.get(_CHECKSUM) != sha256(to_json(content)):
        raise ValueError(f"{name} fails its checksum")
    return content


def to_checksummed_json(value: Mapping[str, object]) -> bytes:
    """Return the JSON text of ``with_checksum`` in bytes."""
    return to_json(with_checksum(value))


def from_checksummed_json(data: bytes, name: str) -> dict[str, object]:
    """Return the argument of ``to_checksummed_json``.

    Args:
        data: the result of ``to_checksummed_json``.
        name: name of the value in messages.

    Raises:
        ValueError: the data are no JSON or don't match their checksum.
    """
    try:
        value: dict[str, object] = json.loads(data)
        del value[_CHECKSUM]
        sound = to_checksummed_json(value) == data  # compares every byte
    except UNREADABLE:
        raise ValueError(f"{name} is not readable") from None
    if not sound:
        raise ValueError(f"{name} fails its checksum")
    return value


def digest(value: object) -> str:
    """Return 128 bits of SHA-256, in hex, of canonical JSON (sorted keys, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def derive_seed(*parts: object) -> int:
    """Return a seed in [0, 2**63) that depends on all parts and on nothing else."""
    return int(digest([str(part) for part in parts])[:16], 16) >> 1
