"""Decoding and resizing of image files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.image_file import open_image, quiet, raise_all, room_for, unreadable
from dgkd_search.data.pixels import UnmeasuredRange, to_mode
from dgkd_search.data.types import Images
from dgkd_search.errors import InputError

_CHUNK = 64  # images that a thread decodes per task
_SMALL_FILE = 16 * 1024
_MAX_RESIZED = 2**26  # pixels; the resized image of a long strip could fill the memory

Crop = Callable[[int, int], tuple[tuple[float, float, float, float], bool]]


def decode_images(
    paths: Sequence[Path],
    channels: int,
    size: int,
    decoding: Decoding,
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
        decoding: rules and settings.
        threads: at least 1; None for 1 with small files and one per processor with large files.
        crops: replaces resizing and center crop: for each image a function that maps the width and
            height of the upright image to a crop (left, top, right, bottom in pixels) and whether
            to mirror it.

    Returns:
        uint8 [len(paths), channels, size, size].

    Raises:
        InputError: names the files that are damaged or not images, ten at most.
        UnmeasuredRange: an image has more than 8 bits, and ``decoding`` no range.
    """
    images = np.empty((len(paths), channels, size, size), np.uint8)

    def work(start: int) -> list[InputError]:
        errors: list[InputError] = []
        for index in range(start, min(start + _CHUNK, len(paths))):
            try:
                crop = crops[index] if crops is not None else None
                images[index] = _decode_one(paths[index], channels, size, decoding, crop)
            except InputError as error:
                errors.append(error)
        return errors

    with quiet(), ThreadPoolExecutor(threads or _threads(paths)) as pool:
        errors_by_chunk = pool.map(work, range(0, len(paths), _CHUNK))
        raise_all([error for errors in errors_by_chunk for error in errors])
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


def _decode_one(
    path: Path, channels: int, size: int, decoding: Decoding, crop: Crop | None
) -> Images:
    try:
        with open_image(path) as opened, room_for(opened):
            image = to_mode(path, opened, "L" if channels == 1 else "RGB", decoding)
            if crop is not None:
                box, mirrored = crop(*image.size)
                image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
                if mirrored:
                    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            elif image.size != (size, size):
                image = _fit(image, size)
            pixels = np.asarray(image, np.uint8)
    except (MemoryError, UnmeasuredRange):
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side to ``size`` and crop the center."""
    width, height = image.size
    scale = size / min(width, height)
    if max(width, height) * scale * size > _MAX_RESIZED:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        return image.resize((size, size), Image.Resampling.BILINEAR)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
