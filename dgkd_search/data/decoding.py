"""Decoding and resizing of images with Pillow."""

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

# Modes that lose only transparency and bit depth when converted to one gray channel.
_GRAY_MODES = ("1", "L", "LA", "I")
_MAX_REPORTED = 10
_CHUNK = 64  # images that a thread decodes per task
_SMALL_FILE = 16 * 1024


def all_gray(paths: Sequence[Path]) -> bool:
    """Return whether all images are gray according to their headers.

    Raises:
        InputError: names the files whose headers cannot be read, ten at most.
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
    """Decode image files to one size.

    If an image has another size, its short side is resized to ``size`` (bilinear, antialiased) and
    its center is cropped. An image of the right size keeps its pixels.

    Args:
        paths: the files.
        channels: 1 (gray) or 3 (RGB).
        size: height and width in pixels.
        threads: at least 1; None for 1 with small files and one per processor with large files.
        crops: replaces resizing and center crop: for each image a function that maps its width and
            height to a crop (left, top, right, bottom in pixels) and whether to mirror it.

    Returns:
        uint8 [len(paths), channels, size, size].

    Raises:
        InputError: names the files that are damaged or not images, ten at most.
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
        # Pillow warns of odd metadata and of lost transparency; damaged pixels raise an error.
        warnings.simplefilter("ignore", UserWarning)
        with ThreadPoolExecutor(threads or _threads(paths)) as pool:
            errors_by_chunk = pool.map(work, range(0, len(paths), _CHUNK))
            _raise_all([error for errors in errors_by_chunk for error in errors])
    return images


def resize(images: Images, size: int) -> Images:
    """Resize square images [N, C, H, H] to [N, C, size, size] (bilinear, antialiased)."""
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
    # With small files threads wait for the GIL: at 32 x 32 pixels two threads take a quarter longer
    # than one. With large files most time passes in Pillow code that releases the GIL.
    sample = paths[:_CHUNK]
    with contextlib.suppress(OSError):  # a missing file is reported when it is decoded
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
        # Pillow's own conversion clips 16-bit values at 255 instead of scaling them.
        deep = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8))
    return image.convert(mode)


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side to ``size`` and crop the center."""
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
    """Raise the errors, if any, as one InputError."""
    messages = [message for error in errors for message in error.messages]
    if len(messages) > _MAX_REPORTED:
        rest = len(messages) - _MAX_REPORTED
        messages = [*messages[:_MAX_REPORTED], f"and {rest} more files that cannot be read"]
    if messages:
        raise InputError(messages)
