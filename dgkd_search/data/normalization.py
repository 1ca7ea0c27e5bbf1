"""Mean and standard deviation of pixels, independent of the order and chunking of images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dgkd_search.data.config import KNOWN_STATISTICS, MeanStd
from dgkd_search.data.types import Images
from dgkd_search.errors import InputError

_MIN_STD = 1e-3  # avoids a division by zero for a constant channel


def mean_and_std(chunks: Iterable[Images]) -> MeanStd:
    """Return mean and standard deviation (at least 0.001) per channel, of pixels in [0, 1].

    Args:
        chunks: uint8 [n, C, H, W] each, with at least one image in total.
    """
    counts = sum(_count_levels(chunk) for chunk in chunks)
    levels = np.arange(256) / 255
    means: list[float] = []
    stds: list[float] = []
    for channel in np.asarray(counts):
        shares = channel / channel.sum()
        mean = float(shares @ levels)
        means.append(mean)
        stds.append(max(float(shares @ (levels - mean) ** 2) ** 0.5, _MIN_STD))
    return tuple(means), tuple(stds)


def known_statistics(name: str, channels: int) -> MeanStd:
    """Return the published constants called ``name``, for images with three channels.

    Raises:
        InputError: the images have one channel.
    """
    if channels != 3:
        raise InputError(
            f"--normalize {name}: needs color images, but these are gray; leave it out"
        )
    return KNOWN_STATISTICS[name]


def _count_levels(images: Images) -> np.ndarray:
    """Count the occurrences of each level in each channel: int64 [C, 256]."""
    channels = range(images.shape[1])
    return np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in channels])
