"""Pixels of any type become uint8, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.data.array_images import to_pixels

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_every_level_survives_both_scales(dtype: str) -> None:
    unit = to_pixels((LEVELS / 255).astype(dtype))
    assert (unit.images == LEVELS).all() and unit.unit
    assert (to_pixels(LEVELS.astype(dtype)).images == LEVELS).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, ">u4"])
def test_whole_numbers_stay(dtype: str) -> None:
    pixels = to_pixels(LEVELS.astype(dtype))
    assert (pixels.images == LEVELS).all() and pixels.images.dtype == np.uint8
    assert pixels.note is None


def test_bytes_are_not_copied() -> None:
    assert to_pixels(LEVELS).images is LEVELS


def test_bools_are_black_and_white() -> None:
    pixels = to_pixels(np.array([[[True, False], [False, True]]]))
    assert pixels.images.tolist() == [[[255, 0], [0, 255]]]
    assert pixels.note is not None and "bool" in pixels.note


def test_dark_bytes_stay_and_are_noted() -> None:
    pixels = to_pixels(LEVELS % 2)
    assert (pixels.images == LEVELS % 2).all()
    assert pixels.note is not None and "every pixel is 0 or 1 of 255" in pixels.note


def test_many_images_are_rounded_in_parts() -> None:
    images = np.random.default_rng(0).random((2500, 2, 2))
    assert (to_pixels(images).images == np.rint(images * 255)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, np.nan], "contain NaN or infinite values"),
        ([0.0, np.inf], "contain NaN or infinite values"),
        ([-2.1, 2.6], "go from -2.1 to 2.6; .*before any normalization"),
        ([-1, 1], "go from -1 to 1; .*before any normalization"),
        ([0.0, 1.0000001], "slightly above 1; clip them"),
        ([0, 4095], "go from 0 to 4095; .*where MOST is white"),
        ([0.0, 65535.0], "go from 0 to 65535; "),
    ],
)
def test_what_is_on_no_scale_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_pixels(np.array(values).reshape(-1, 1, 1))


@given(st.lists(st.floats(0, 255, width=32), min_size=1))
def test_an_accepted_float_is_off_by_half_a_level_at_most(values: list[float]) -> None:
    images = np.array(values, np.float32).reshape(-1, 1, 1)
    if not 1 < images.max() < 2:
        pixels = to_pixels(images)
        scaled = images.astype(float) * (255 if pixels.unit else 1)
        assert np.abs(pixels.images - scaled).max() <= 0.5001
