"""Decoding and resizing, with Pillow."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dgkd_search.data.types import Images
from dgkd_search.errors import InputError, one_line

# Modes that lose nothing but transparency and depth in one gray channel.
_GRAY_MODES = ("1", "L", "LA", "I")
_MAX_REPORTED = 10
_CHUNK = 64  # images that a thread takes at once
_SMALL_FILE = 16 * 1024


def all_gray(paths: Sequence[Path]) -> bool:
    """Whether the headers of all these images say that they have one gray channel.

    Raises:
        InputError: naming every header that cannot be read.
    """
    modes: list[str] = []
    errors: list[InputError] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                modes.append(image.mode)
        except Exception as error:
            errors.append(_unreadable(path, error))
    _raise_all(errors)
    return all(mode in _GRAY_MODES or mode.startswith("I;16") for mode in modes)


Crop = Callable[[int, int], tuple[tuple[float, float, float, float], bool]]


def decode_images(
    paths: Sequence[Path],
    channels: int,
    size: int,
    threads: int | None = None,
    crops: Sequence[Crop] | None = None,
) -> Images:
    """Decode files.

    An image of another size has its short side resized to ``size`` (bilinear, with antialias) and
    its center cut out; an image of the right size keeps its pixels.

    Args:
        channels: 1 (gray) or 3 (RGB).
        size: height and width in pixels.
        threads: at least 1; None means 1 for small files, as many as processors for large ones.
        crops: for each image a function from its width and height to the part that is shown
            instead (left, top, right, bottom in pixels) and whether it is mirrored.

    Returns:
        uint8 [len(paths), channels, size, size].

    Raises:
        InputError: naming every file that is damaged or no image, ten at most.
    """
    images = np.empty((len(paths), channels, size, size), np.uint8)

    def work(start: int) -> list[InputError]:
        errors: list[InputError] = []
        for index in range(start, min(start + _CHUNK, len(paths))):
            try:
                crop = crops[index] if crops is not None else None
                images[index] = _decode_one(paths[index], channels, size, crop)
            except InputError as error:
                errors.append(error)
        return errors

    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of transparency that goes lost; bad pixels raise.
        warnings.simplefilter("ignore", UserWarning)
        with ThreadPoolExecutor(threads or _threads(paths)) as pool:
            errors_by_chunk = pool.map(work, range(0, len(paths), _CHUNK))
            _raise_all([error for errors in errors_by_chunk for error in errors])
    return images


def resize(images: Images, size: int) -> Images:
    """Resize square images [N, C, H, H] to [N, C, size, size] (bilinear, with antialias)."""
    if images.shape[-1] == size:
        return images
    count, channels = images.shape[:2]
    resized = np.empty((count, channels, size, size), np.uint8)
    for i in range(count):
        for c in range(channels):
            plane = Image.fromarray(images[i, c])
            resized[i, c] = np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR))
    return resized


def _threads(paths: Sequence[Path]) -> int:
    # Small files leave threads waiting for the interpreter: at 32 x 32 pixels two take a quarter
    # longer than one. Large ones spend their time where Pillow lets the interpreter go.
    sample = paths[:_CHUNK]
    with contextlib.suppress(OSError):  # a file that is gone is reported when it is decoded
        if sum(path.stat().st_size for path in sample) < _SMALL_FILE * len(sample):
            return 1
    return os.cpu_count() or 1


def _decode_one(path: Path, channels: int, size: int, crop: Crop | None) -> Images:
    try:
        with Image.open(path) as file:
            image = _to_mode(file, "L" if channels == 1 else "RGB")
            if crop is not None:
                box, mirrored = crop(*image.size)
                image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
                if mirrored:
                    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            elif image.size != (size, size):
                image = _fit(image, size)
            pixels = np.asarray(image, np.uint8)
    except MemoryError:
        raise
    except Exception as error:
        # Damaged files raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more.
        raise _unreadable(path, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion cuts off 16-bit values at 255 instead of scaling them.
        deep = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8))
    return image.convert(mode)


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side and cut out the center."""
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = one_line(error)
    return InputError(f"{path}: not a readable image ({reason}); replace or remove the file")


def _raise_all(errors: Sequence[InputError]) -> None:
    """Raise errors, if there are any, as one."""
    messages = [message for error in errors for message in error.messages]
    if len(messages) > _MAX_REPORTED:
        rest = len(messages) - _MAX_REPORTED
        messages = [*messages[:_MAX_REPORTED], f"and {rest} more files that cannot be read"]
    if messages:
        raise InputError(messages)
