"""Image files that Pillow cannot write: 16-bit colors, and transparent colors of few bits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike


def write_png(
    path: Path, bits: int, color: int, rows: list[bytes], width: int, trns: bytes = b""
) -> Path:
    """Write a PNG of the given bit depth and color type, from unfiltered rows."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *([(b"tRNS", trns)] if trns else []), (b"IDAT", pixels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, [*chunks, (b"IEND", b"")])))
    return path


def write_png16(path: Path, pixels: ArrayLike, trns: bytes = b"") -> Path:
    """Write a 16-bit PNG: gray [H, W], or [H, W, C] with 2, 3 or 4 channels."""
    values = np.asarray(pixels, ">u2")
    color = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2] if values.ndim == 3 else 1]
    return write_png(path, 16, color, [row.tobytes() for row in values], values.shape[1], trns)


def write_tiff16(path: Path, pixels: ArrayLike, order: str, *, compressed: bool) -> Path:
    """Write a 16-bit color TIFF [H, W, 3 or 4] in the byte order ``<`` or ``>``."""
    values = np.asarray(pixels, f"{order}u2")
    height, width, channels = values.shape
    data = zlib.compress(values.tobytes()) if compressed else values.tobytes()
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = 9 + (channels == 4)
    after = 8 + 2 + 12 * tags + 4
    entries = [
        (256, width),
        (257, height),
        (258, after),
        (259, 8 if compressed else 1),
        (262, 2),  # RGB
        (273, after + len(bits)),
        (277, channels),
        (278, height),
        (279, len(data)),
        *([(338, 2)] if channels == 4 else []),  # alpha
    ]
    directory = b"".join(
        struct.pack(f"{order}HHII", 258, 3, channels, value)
        if tag == 258
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in entries
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, tags)
    path.write_bytes(start + directory + b"\0\0\0\0" + bits + data)
    return path


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check
