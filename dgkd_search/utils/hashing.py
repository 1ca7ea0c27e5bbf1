"""Canonical JSON, hashes, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

_CHECKSUM = "checksum"
# What foreign or damaged JSON raises on its way to the values that were expected.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def to_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def with_checksum(value: Mapping[str, object]) -> dict[str, object]:
    """``value``, of plain JSON types, with a checksum of its own."""
    return {**value, _CHECKSUM: sha256(to_json(value))}


def verify_checksum(value: Mapping[str, object], name: str) -> dict[str, object]:
    """What ``with_checksum`` was given.

    Raises:
        ValueError: it was changed since; ``name`` is what to call it.
    """
    content = {key: part for key, part in value.items() if key != _CHECKSUM}
    if value.get(_CHECKSUM) != sha256(to_json(content)):
        raise ValueError(f"{name} fails its checksum")
    return content


def to_checksummed_json(value: Mapping[str, object]) -> bytes:
    """``with_checksum``, as the bytes of a file."""
    return to_json(with_checksum(value))


def from_checksummed_json(data: bytes, name: str) -> dict[str, object]:
    """What ``to_checksummed_json`` was given.

    Raises:
        ValueError: it was changed since; ``name`` is what to call it.
    """
    try:
        value: dict[str, object] = json.loads(data)
        del value[_CHECKSUM]
        sound = to_checksummed_json(value) == data  # to the last byte
    except UNREADABLE:
        raise ValueError(f"{name} is not readable") from None
    if not sound:
        raise ValueError(f"{name} fails its checksum")
    return value


def digest(value: object) -> str:
    """128 bits of SHA-256, in hex, over canonical JSON (sorted keys, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that depends on every part and on nothing else."""
    return int(digest([str(part) for part in parts])[:16], 16) >> 1
