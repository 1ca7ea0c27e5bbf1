"""Layouts and pixel types of arrays of images, and their conversion to uint8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.types import Images

_CHUNK = 1024  # images at a time; bounds the memory of a conversion
_WANTED = (
    "give uint8 [N, H, H], [N, H, H, C] or [N, C, H, H], square, with 1 or 3 channels, and at "
    "least one"
)
_SCALES = "give pixels in 0..255, or floats in 0..1"
_TO_BYTES = "(images / MOST * 255).round().astype('uint8'), where MOST is white"


@dataclass(frozen=True)
class Layout:
    """The layout of an array of images.

    Attributes:
        shape: [C, H, H] of one image.
        axes: order of the array's axes that gives [N, C, H, H]; None for [N, H, H].
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None

    def arrange(self, images: Images) -> Images:
        """Return the images as [N, C, H, H]."""
        if self.axes is None:
            return images[:, None]
        return np.ascontiguousarray(images.transpose(self.axes))


def image_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Layout:
    """Return the layout of images, from the shape and type of their array.

    Raises:
        ValueError: the array does not hold images; the message continues "the images are".
    """
    layout: Layout | None = None
    if len(shape) == 3:
        layout = Layout((1, *shape[1:]), None)
    elif len(shape) == 4 and shape[1] in (1, 3):
        layout = Layout(shape[1:], (0, 1, 2, 3))
    elif len(shape) == 4 and shape[3] in (1, 3):
        layout = Layout((shape[3], *shape[1:3]), (0, 3, 1, 2))
    numbers = dtype.kind in "buif"
    if layout is None or layout.shape[1] != layout.shape[2] or not numbers or 0 in shape:
        hint = _hint(shape, layout) if numbers else ""
        raise ValueError(f"{dtype} {shape}{hint}; {_WANTED}")
    return layout


def _hint(shape: tuple[int, ...], layout: Layout | None) -> str:
    """Return what is probably wrong with a shape."""
    if len(shape) == 2 and shape[0]:
        return f", flat rows of {shape[1]} values: reshape them to [N, C, H, H]"
    if len(shape) == 3 and shape[0] == shape[1] != shape[2]:
        return ", in the order [H, W, N], or one image: use images.transpose(2, 0, 1)"
    if len(shape) == 4 and shape[0] == shape[1] and shape[2] in (1, 3):
        return ", in the order [H, W, C, N]: use images.transpose(3, 0, 1, 2)"
    if layout is not None and layout.shape[1] != layout.shape[2]:
        return f", {layout.shape[1]} x {layout.shape[2]} pixels: crop or pad them to squares"
    if len(shape) == 4 and 4 in (shape[1], shape[3]):
        return ", with 4 channels: leave out the transparency"
    return ""


@dataclass(frozen=True)
class Pixels:
    """Pixels as uint8.

    Attributes:
        images: in the layout of the array.
        unit: whether the pixels were floats in 0..1 (True) or in 0..255 (False); None for others.
        note: what was converted, or None.
    """

    images: Images
    unit: bool | None = None
    note: str | None = None


def to_pixels(images: NDArray[Any]) -> Pixels:
    """Convert images of a type that ``image_layout`` accepts to uint8 in 0..255.

    Whole numbers stay as they are. Floats in 0..1 are multiplied by 255; floats are rounded.

    Args:
        images: at least one value.

    Raises:
        ValueError: values are outside both ranges; the message continues "the images".
    """
    kind = images.dtype.kind
    if kind == "b":
        white = images.astype(np.uint8) * np.uint8(255)
        return Pixels(white, note="images are bool: True was read as 255")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN is least and greatest of all
        raise ValueError(f"contain NaN or infinite values; {_SCALES}")
    span = f"go from {low:.6g} to {high:.6g}"
    if low < 0:
        raise ValueError(
            f"{span}; {_SCALES}, before any normalization (it is part of the models here)"
        )
    if high > 255:
        raise ValueError(f"{span}; {_SCALES}, for example {_TO_BYTES}")
    if kind in "ui":
        dark = "every pixel is 0 or 1 of 255; if 1 is white, multiply the images by 255"
        return Pixels(images.astype(np.uint8, copy=False), note=dark if high <= 1 else None)
    if 1 < high < 2:  # 0..1 with rounding errors, most likely, which 0..255 would turn black
        raise ValueError(f"{span}, slightly above 1; clip them to 0..1, or {_SCALES}")
    unit = bool(high <= 1)
    words = "in 0..1: multiplied by 255 and rounded" if unit else f"up to {high:.6g}: rounded"
    note = f"images are {images.dtype.name} {words} to whole numbers in 0..255"
    return Pixels(_rounded(images, 255 if unit else 1), unit, note)


def _rounded(images: NDArray[Any], factor: int) -> Images:
    result = np.empty(images.shape, np.uint8)
    precise = np.promote_types(images.dtype, np.float32)  # float16 has too few digits
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(precise)
        result[start : start + _CHUNK] = np.rint(chunk * factor)
    return result
