"""What the headers of image files say, without decoding their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dgkd_search.data import pixels
from dgkd_search.data.config import Rgb
from dgkd_search.data.image_file import (
    MAX_REPORTED,
    open_image,
    quiet,
    raise_all,
    room_for,
    unreadable,
)
from dgkd_search.errors import InputError
from dgkd_search.utils.formatting import pluralize

_CHUNK = 256  # files that a thread opens per task
_THREADS = 8  # a network drive answers each with a delay; on a local disk one would do
_MEASURED = 10_000  # training images whose values are read; like those for mean and deviation
_MIN_BITS = 8
_GRAY = (299, 587, 114)  # thousandths of red, green and blue in a gray level (ITU-R BT.601)


@dataclass
class Headers:
    """Counts of the images whose decoding may surprise, and the damaged ones.

    Attributes:
        images: files whose header can be read.
        colored: not gray.
        transparent: with an alpha channel, or a transparent color.
        turned: with an EXIF orientation other than upright.
        deep: more than 8 bits per channel, all of which are read.
        shortened: 16-bit layouts of which Pillow reads the upper 8 bits.
        several: files of several frames or pages, of which the first is read.
        errors: the first damaged files.
        damaged: number of damaged files.
    """

    images: int = 0
    colored: int = 0
    transparent: int = 0
    turned: int = 0
    deep: int = 0
    shortened: int = 0
    several: int = 0
    errors: tuple[InputError, ...] = ()
    damaged: int = 0

    def __add__(self, other: Headers) -> Headers:
        return Headers(
            self.images + other.images,
            self.colored + other.colored,
            self.transparent + other.transparent,
            self.turned + other.turned,
            self.deep + other.deep,
            self.shortened + other.shortened,
            self.several + other.several,
            (self.errors + other.errors)[:MAX_REPORTED],
            self.damaged + other.damaged,
        )

    @property
    def changed(self) -> list[str]:
        """Describe the images that the first decoding rules decode differently."""
        counts = {
            "transparent": self.transparent,
            "turned by EXIF": self.turned,
            "of more than 8 bits": self.deep,
        }
        return [f"{count:,} {text}" for text, count in counts.items() if count]

    def raise_damaged(self) -> None:
        """Raise the damaged files, if any, as one InputError: ten, and the number of the others."""
        raise_all(list(self.errors), self.damaged)

    def notes(self, channels: int, background: Rgb, background_name: str) -> list[str]:
        """Return a line for each kind of image that decoding changes."""
        gray = channels == 1
        color = f"{background_name} (--background)"
        if gray and len(set(background)) > 1:
            level = round(sum(w * c for w, c in zip(_GRAY, background, strict=True)) / 1000)
            color = f"gray level {level}, which --background {background_name} is in gray"
        lines = {
            f"are transparent, and laid on {color}": self.transparent,
            "are turned upright as EXIF says": self.turned,
            "have more than 8 bits; one scale for all follows from the training images when the "
            "search starts": self.deep,
            "have 16 bits, of which only the upper 8 can be read": self.shortened,
            "have several frames or pages, of which the first is used": self.several,
            "are colored but become gray, as a sample of the training images is gray": (
                self.colored if gray else 0
            ),
        }
        notes = [
            f"{count:,} of {pluralize(self.images, 'image')} {text}"
            for text, count in lines.items()
            if count
        ]
        notes.append(
            f"the headers of {pluralize(self.images, 'image')} are intact; pixels are decoded "
            "when the search starts"
        )
        return notes


def scan_headers(paths: Sequence[Path]) -> Headers:
    """Open all files and read their headers.

    It takes about 0.1 ms per file on a local disk. A file that is cut off may have a valid header.
    """

    def scan(start: int) -> Headers:
        counts = Headers()
        errors: list[InputError] = []
        for path in paths[start : start + _CHUNK]:
            try:
                with open_image(path) as image:
                    _count(image, counts)
            except Exception as error:
                errors.append(unreadable(path, error))
        counts.errors, counts.damaged = tuple(errors[:MAX_REPORTED]), len(errors)
        return counts

    with quiet(), ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(scan, range(0, len(paths), _CHUNK)), Headers())


def all_gray(paths: Sequence[Path]) -> bool:
    """Return whether all images are gray according to their headers.

    Raises:
        InputError: names the files whose headers cannot be read, ten at most.
    """
    headers = scan_headers(paths)
    headers.raise_damaged()
    return not headers.colored


def value_range(paths: Sequence[Path]) -> tuple[int, int] | None:
    """Return the range of values of images with more than 8 bits: (least, greatest).

    It is the smallest range of 8, 10, 12, ... bits that contains the values of all these images.
    It begins at 0, or at minus a power of two if there are negative values. Up to 10,000 evenly
    spaced files are read. None if none of them has more than 8 bits.

    Raises:
        InputError: names the files that are damaged, ten at most.
    """
    low, high, met = 0, 0, False
    errors: list[InputError] = []
    rows = np.unique(np.linspace(0, len(paths) - 1, _MEASURED).round().astype(np.int64))
    with quiet():
        for path in (paths[row] for row in rows.tolist()):
            try:
                with open_image(path) as image, room_for(image):
                    if pixels.is_deep(image):
                        least, greatest = pixels.deep_range(path, image)
                        low, high, met = min(low, least), max(high, greatest), True
            except MemoryError:
                raise
            except Exception as error:
                errors.append(unreadable(path, error))
    raise_all(errors)
    return _range(low, high) if met else None


def _range(low: int, high: int) -> tuple[int, int]:
    """Return the smallest range of an even number of bits, at least 8, that contains both."""
    least = -(2 ** (-low - 1).bit_length()) if low < 0 else 0
    bits = _MIN_BITS
    while high - least >= 2**bits:
        bits += 2
    return least, least + 2**bits - 1


def _count(image: Image.Image, counts: Headers) -> None:
    """Count one image; its pixels stay undecoded.

    Raises:
        ValueError: no image of its mode is decoded.
    """
    pixels.check_mode(image)
    gray, deep = pixels.is_gray(image), pixels.is_deep(image)
    counts.images += 1
    counts.colored += not gray
    counts.transparent += image.has_transparency_data
    counts.deep += deep
    counts.shortened += not deep and pixels.is_shortened(image)
    counts.turned += pixels.orientation(image) != 1
    counts.several += bool(getattr(image, "is_animated", False))
