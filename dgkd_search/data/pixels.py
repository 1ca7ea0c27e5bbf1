"""From an opened image to 8-bit gray or RGB: bit depth, transparency, orientation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from dgkd_search.data.decoding_rules import FIRST_RULES, Decoding
from dgkd_search.data.image_file import open_image
from dgkd_search.data.types import Images

# Modes that lose only transparency and bit depth when converted to one gray channel.
_GRAY_MODES = ("1", "L", "LA", "I")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow unpacks 16-bit colors to their upper bytes. In the other byte order, the same unpacker
# gives the lower bytes. (N is the order of this machine.)
_DEEP_COLORS = tuple(f"{mode};16{order}" for mode in ("RGB", "RGBX", "RGBA") for order in "LBN")
_SHORTENED = ("LA;16", "RGBa;16", "CMYK;16", "R;16", "G;16", "B;16")
_LOWER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_TRANSPARENCY_FACTOR = {"L;2": 85, "L;4": 17}
_STRIP = 2**20  # values that are scaled at a time; bounds the memory of large images
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF

Deep = NDArray[np.integer[Any]]


class UnmeasuredRange(Exception):
    """An image of more than 8 bits was met, and the range of such images is not known yet."""


def check_mode(image: Image.Image) -> None:
    """Check that images of this mode are decoded.

    Raises:
        ValueError: they are not.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range, save 8 or 16 bits")


def is_gray(image: Image.Image) -> bool:
    return image.mode in _GRAY_MODES or _is_deep_gray(image)


def is_deep(image: Image.Image) -> bool:
    """Return whether all bits of an image with more than 8 per channel are read.

    Ask before the pixels are decoded.
    """
    return _is_deep_gray(image) or _raw_mode(image) in _DEEP_COLORS


def is_shortened(image: Image.Image) -> bool:
    """Return whether only the upper 8 of 16 bits are read; ask before pixels are decoded."""
    return _raw_mode(image).startswith(_SHORTENED)


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it is damaged."""
    try:
        # Not the method of PNG, which decodes all pixels to search for EXIF behind them.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # parsers of damaged EXIF raise many errors, and the pixels may be intact
        return 1
    return value if value in _TURNS else 1


def to_mode(path: Path, image: Image.Image, mode: str, decoding: Decoding) -> Image.Image:
    """Return the upright, opaque image in 8 bits per channel.

    Args:
        path: the file of ``image``, which may be opened a second time.
        image: as opened, before its pixels are decoded.
        mode: ``L`` or ``RGB``.
        decoding: rules and settings.

    Raises:
        UnmeasuredRange: the image has more than 8 bits, and ``decoding`` no range.
        Exception: the image is damaged; see ``unreadable``.
    """
    if decoding.rules == FIRST_RULES:
        return _by_first_rules(image, mode)
    check_mode(image)
    if is_deep(image):
        if decoding.values is None:
            raise UnmeasuredRange
        upright = _from_deep(path, image, decoding.values)
    else:
        upright = image
        _correct_transparency(image)
        image.load()
    upright = _opaque(upright, mode, decoding)
    turn = _TURNS.get(orientation(image))
    return upright if turn is None else upright.transpose(turn)


def deep_range(path: Path, image: Image.Image) -> tuple[int, int]:
    """Return the least and the greatest value of a deep image, without transparent pixels."""
    values = _deep_values(path, image)
    color = values[..., :3] if values.ndim == 3 else values
    if (clear := _is_transparent(image, color)) is not None and not clear.all():
        color = color[~clear]
    return int(color.min()), int(color.max())


def _is_deep_gray(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of the layout of the pixels in the file; empty if there is none."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return ""
    layout = tiles[0].args
    return str(layout[0] if isinstance(layout, tuple) and layout else layout)


def _deep_values(path: Path, image: Image.Image) -> Deep:
    """Return integers [H, W] or [H, W, 3 or 4]; alpha has 16 bits."""
    if _is_deep_gray(image):
        tags = getattr(image, "tag_v2", {})
        values = np.asarray(image)
        # Pillow reads unsigned 32-bit values as signed ones.
        unsigned = tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
        return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values
    with open_image(path) as lower:
        assert isinstance(lower, ImageFile.ImageFile)
        lower.tile = [tile._replace(args=_lower(tile.args)) for tile in lower.tile]
        low = np.asarray(lower)
    values = np.asarray(image).astype(np.uint16)
    values <<= 8
    values |= low
    return values


def _lower(layout: Any) -> Any:
    """Return a layout that unpacks the lower bytes."""
    if isinstance(layout, tuple):
        return (_lower(layout[0]), *layout[1:])
    return layout[:-1] + _LOWER[layout[-1]]


def _is_transparent(image: Image.Image, color: Deep) -> NDArray[np.bool_] | None:
    """Return which pixels [H, W] have the color that PNG marks as transparent, or None."""
    key = image.info.get("transparency")
    if key is None:
        return None
    equal: NDArray[np.bool_] = color == np.asarray(key)
    return equal if color.ndim == 2 else np.all(equal, axis=2)


def _from_deep(path: Path, image: Image.Image, values: tuple[int, int]) -> Image.Image:
    """Scale a deep image to L, LA, RGB or RGBA."""
    deep = _deep_values(path, image)
    color = deep[..., :3] if deep.ndim == 3 else deep
    scaled = _scale(color, *values)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero
        scaled = 255 - scaled
    alpha = None
    if (clear := _is_transparent(image, color)) is not None:
        alpha = np.where(clear, 0, 255).astype(np.uint8)
    elif deep.ndim == 3 and image.mode == "RGBA":
        alpha = (deep[..., 3] >> 8).astype(np.uint8)
    if alpha is None:
        return Image.fromarray(scaled)
    return Image.fromarray(np.dstack([scaled, alpha]))


def _scale(values: Deep, low: int, high: int) -> Images:
    shift = (high - low).bit_length() - 8
    scaled = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP // values[0].size)
    for start in range(0, len(values), rows):
        strip = values[start : start + rows].astype(np.int64)
        scaled[start : start + rows] = (strip.clip(low, high) - low) >> shift
    return scaled


def _correct_transparency(image: Image.Image) -> None:
    # Pillow scales gray of 2 and 4 bits to 8, but not the gray that is transparent.
    factor = _TRANSPARENCY_FACTOR.get(_raw_mode(image))
    gray = image.info.get("transparency")
    if factor is not None and isinstance(gray, int):
        image.info["transparency"] = gray * factor


def _opaque(image: Image.Image, mode: str, decoding: Decoding) -> Image.Image:
    """Lay an image on the background, and convert it."""
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        clear = image if image.mode == "RGBA" else image.convert("RGBA")  # a copy takes memory
        image = Image.new("RGB", clear.size, decoding.background)
        image.paste(clear, mask=clear)
    elif image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    return image if image.mode == mode else image.convert(mode)


def _by_first_rules(image: Image.Image, mode: str) -> Image.Image:
    """Convert as versions before rules 2 did, for runs that they began."""
    check_mode(image)
    if _is_deep_gray(image):
        deep = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8))
    return image.convert(mode)
