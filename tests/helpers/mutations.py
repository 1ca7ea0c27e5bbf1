"""Mutations of sound files: what accidents, and people with bad intentions, make of them."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

import yaml

from dgkd_search.utils.hashing import to_checksummed_json, with_checksum

Mutation = Callable[[bytes, random.Random], bytes]

BAIT = "../../bait/victim"  # a path outside of the files that a reader is given
_NUMBERS = (0, -1, 1, 2**31, 2**63, 10**9, 10**18, 10**400, -(10**30), 0.5, 1e308, -1e308, 5e-324)
_TEXTS = ("", BAIT, "/etc/passwd", "a" * 5000, "\x1b[2J\x00\u2028é", "../" * 50, "<b>=1+1", "nan")
_BYTES = (b"", b"\x00" * 64, b"\xff" * 64, b"[" * 3000, b'{"a":' * 500, b"9" * 6000, b"*a" * 99)


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _piece(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[start : start + draw.choice((1, 8, 64, 1024))]


def _insert(data: bytes, draw: random.Random) -> bytes:
    where = draw.randrange(len(data))
    return data[:where] + draw.choice((_piece(data, draw), *_BYTES)) + data[where:]


def _overwrite(data: bytes, draw: random.Random) -> bytes:
    piece = draw.choice((_piece(data, draw), *_BYTES))
    where = draw.randrange(len(data))
    return data[:where] + piece + data[where + len(piece) :]


def _delete(data: bytes, draw: random.Random) -> bytes:
    where = draw.randrange(len(data))
    return data[:where] + data[where + draw.choice((1, 8, 64, 1024)) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    return data + data


def _length(data: bytes, draw: random.Random) -> bytes:
    """Overwrite what may be a length, mostly in the header, by an extreme one."""
    size = draw.choice((1, 2, 4, 8))
    value = draw.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (4 * size)))
    where = draw.randrange(min(len(data), draw.choice((32, 512, len(data)))))
    field = value.to_bytes(size, draw.choice(("little", "big")))
    return data[:where] + field + data[where + size :]


def _number(data: bytes, draw: random.Random) -> bytes:
    """Replace the digits of a number in a text."""
    numbers = list(re.finditer(rb"\d+(?:\.\d+)?", data))
    if not numbers:
        return _flip(data, draw)
    number = draw.choice(numbers)
    return data[: number.start()] + str(draw.choice(_NUMBERS)).encode() + data[number.end() :]


BYTES: tuple[Mutation, ...] = (
    _flip, _cut, _insert, _overwrite, _delete, _double, _length, _number,
)  # fmt: skip


def _hostile(draw: random.Random) -> Any:
    deep: Any = 1
    for _ in range(draw.choice((3, 200))):
        deep = [deep]
    many = [draw.choice(_NUMBERS)] * 2000
    others: tuple[Any, ...] = (None, True, [], {}, deep, many, {BAIT: BAIT}, [BAIT, 1, None])
    return draw.choice((*_NUMBERS, *_TEXTS, *others))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return the container and the key of every part of a value."""
    places: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict | list):
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            places += [(part, key) for key in keys]
            pending += [part[key] for key in keys]
    return places


def mutate_value(value: Any, draw: random.Random) -> None:
    """Change a value of plain types in place: remove, exchange, rename or replace parts."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places:
            return
        part, key = draw.choice(places)
        kind = draw.choice(("replace", "replace", "replace", "remove", "exchange", "rename"))
        if kind == "remove":
            del part[key]
        elif kind == "exchange":
            other, name = draw.choice(places)
            if not any(each is part or each is other for each in (part[key], other[name])):
                part[key] = json.loads(json.dumps(other[name]))
        elif kind == "rename" and isinstance(part, dict):
            part[draw.choice(_TEXTS)] = part.pop(key)
        else:
            part[key] = _hostile(draw)


def resealed_json(data: bytes, draw: random.Random) -> bytes:
    """Change the value of a file with a checksum, and compute the checksum again."""
    value = json.loads(data)
    value.pop("checksum", None)
    mutate_value(value, draw)
    return to_checksummed_json(value)


def resealed_yaml(data: bytes, draw: random.Random) -> bytes:
    value = yaml.safe_load(data)
    value.pop("checksum", None)
    mutate_value(value, draw)
    return yaml.safe_dump(with_checksum(value), sort_keys=False).encode()


def unsealed_yaml(data: bytes, draw: random.Random) -> bytes:
    value = yaml.safe_load(data)
    mutate_value(value, draw)
    return yaml.safe_dump(value, sort_keys=False).encode()


def repacked_zip(data: bytes, draw: random.Random) -> bytes:
    """Change a member of an archive, whose own checksums stay right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        names = old.namelist()
        chosen = draw.choice(names)
        for number, name in enumerate(names):
            content = old.read(name)
            if name == chosen and content:
                content = draw.choice(BYTES)(content, draw)
            renamed = f"{number}{draw.choice(_TEXTS)}" if draw.random() < 0.02 else name
            new.writestr(renamed, content)
    return packed.getvalue()


def rewritten_header(data: bytes, draw: random.Random) -> bytes:
    """Change the JSON header of a safetensors file, whose length stays right."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    mutate_value(header, draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
