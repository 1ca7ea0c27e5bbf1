"""From an opened picture to 8-bit gray or RGB: bit depth, transparency, orientation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from dgkd_search.data.decoding_rules import FIRST_RULES, Decoding
from dgkd_search.data.picture_file import open_picture
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
_STRIP = 2**20  # values that are scaled at a time; bounds the memory of large pictures
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF

Deep = NDArray[np.integer[Any]]


class UnmeasuredRange(Exception):
    """A picture of more than 8 bits was met, and the range of such pictures is not known yet."""


def check_mode(picture: Image.Image) -> None:
    """Check that pictures of this mode are decoded.

    Raises:
        ValueError: they are not.
    """
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no known range, save 8 or 16 bits")


def is_gray(picture: Image.Image) -> bool:
    return picture.mode in _GRAY_MODES or _is_deep_gray(picture)


def is_deep(picture: Image.Image) -> bool:
    """Return whether all bits of a picture with more than 8 per channel are read.

    Ask before the pixels are decoded.
    """
    return _is_deep_gray(picture) or _raw_mode(picture) in _DEEP_COLORS


def is_shortened(picture: Image.Image) -> bool:
    """Return whether only the upper 8 of 16 bits are read; ask before pixels are decoded."""
    return _raw_mode(picture).startswith(_SHORTENED)


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it is damaged."""
    try:
        # Not the method of PNG, which decodes all pixels to search for EXIF behind them.
        value = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    except Exception:  # parsers of damaged EXIF raise many errors, and the pixels may be intact
        return 1
    return value if value in _TURNS else 1


def to_mode(path: Path, picture: Image.Image, mode: str, decoding: Decoding) -> Image.Image:
    """Return the upright, opaque picture in 8 bits per channel.

    Args:
        path: the file of ``picture``, which may be opened a second time.
        picture: as opened, before its pixels are decoded.
        mode: ``L`` or ``RGB``.
        decoding: rules and settings.

    Raises:
        UnmeasuredRange: the picture has more than 8 bits, and ``decoding`` no range.
        Exception: the picture is damaged; see ``unreadable``.
    """
    if decoding.rules == FIRST_RULES:
        return _by_first_rules(picture, mode)
    check_mode(picture)
    if is_deep(picture):
        if decoding.values is None:
            raise UnmeasuredRange
        image = _from_deep(path, picture, decoding.values)
    else:
        image = picture
        _correct_transparency(picture)
        picture.load()
    image = _opaque(image, mode, decoding)
    turn = _TURNS.get(orientation(picture))
    return image if turn is None else image.transpose(turn)


def deep_range(path: Path, picture: Image.Image) -> tuple[int, int]:
    """Return the least and the greatest value of a deep picture, without transparent pixels."""
    values = _deep_values(path, picture)
    color = values[..., :3] if values.ndim == 3 else values
    if (clear := _is_transparent(picture, color)) is not None and not clear.all():
        color = color[~clear]
    return int(color.min()), int(color.max())


def _is_deep_gray(picture: Image.Image) -> bool:
    return picture.mode == "I" or picture.mode.startswith("I;16")


def _raw_mode(picture: Image.Image) -> str:
    """Return Pillow's name of the layout of the pixels in the file; empty if there is none."""
    tiles: Any = getattr(picture, "tile", None)
    if not tiles:
        return ""
    layout = tiles[0].args
    return str(layout[0] if isinstance(layout, tuple) and layout else layout)


def _deep_values(path: Path, picture: Image.Image) -> Deep:
    """Return integers [H, W] or [H, W, 3 or 4]; alpha has 16 bits."""
    if _is_deep_gray(picture):
        tags = getattr(picture, "tag_v2", {})
        values = np.asarray(picture)
        # Pillow reads unsigned 32-bit values as signed ones.
        unsigned = tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
        return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values
    with open_picture(path) as lower:
        assert isinstance(lower, ImageFile.ImageFile)
        lower.tile = [tile._replace(args=_lower(tile.args)) for tile in lower.tile]
        low = np.asarray(lower)
    values = np.asarray(picture).astype(np.uint16)
    values <<= 8
    values |= low
    return values


def _lower(layout: Any) -> Any:
    """Return a layout that unpacks the lower bytes."""
    if isinstance(layout, tuple):
        return (_lower(layout[0]), *layout[1:])
    return layout[:-1] + _LOWER[layout[-1]]


def _is_transparent(picture: Image.Image, color: Deep) -> NDArray[np.bool_] | None:
    """Return which pixels [H, W] have the color that PNG marks as transparent, or None."""
    key = picture.info.get("transparency")
    if key is None:
        return None
    equal: NDArray[np.bool_] = color == np.asarray(key)
    return equal if color.ndim == 2 else np.all(equal, axis=2)


def _from_deep(path: Path, picture: Image.Image, values: tuple[int, int]) -> Image.Image:
    """Scale a deep picture to L, LA, RGB or RGBA."""
    deep = _deep_values(path, picture)
    color = deep[..., :3] if deep.ndim == 3 else deep
    scaled = _scale(color, *values)
    if getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero
        scaled = 255 - scaled
    alpha = None
    if (clear := _is_transparent(picture, color)) is not None:
        alpha = np.where(clear, 0, 255).astype(np.uint8)
    elif deep.ndim == 3 and picture.mode == "RGBA":
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


def _correct_transparency(picture: Image.Image) -> None:
    # Pillow scales gray of 2 and 4 bits to 8, but not the gray that is transparent.
    factor = _TRANSPARENCY_FACTOR.get(_raw_mode(picture))
    gray = picture.info.get("transparency")
    if factor is not None and isinstance(gray, int):
        picture.info["transparency"] = gray * factor


def _opaque(image: Image.Image, mode: str, decoding: Decoding) -> Image.Image:
    """Lay a picture on the background, and convert it."""
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
