"""Data sets, their splits and their views.

Importing this package loads neither torch nor any library that a data set comes from; views, which
need torch, are imported as ``dgkd_search.data.views``.
"""

from __future__ import annotations

from dgkd_search.config import DataConfig
from dgkd_search.data.prepared import (
    DataInfo,
    PreparedData,
    open_prepared,
    prepare,
    verify_prepared,
)
from dgkd_search.data.source import Part, open_source

__all__ = [
    "DEFAULT_AUGMENT",
    "DataInfo",
    "Part",
    "PreparedData",
    "has_test",
    "load_test",
    "open_prepared",
    "prepare",
    "verify_prepared",
]

# A mirrored digit is another picture altogether, so digits are never flipped; of arrays nobody
# knows what they show.
DEFAULT_AUGMENT: dict[str, str] = {
    "digits": "none",
    "cifar10": "crop+flip",
    "cifar100": "crop+flip",
    "imagefolder": "crop+flip",
    "arrays": "none",
}


def has_test(config: DataConfig) -> bool:
    """Whether the data set has a test set; none of its images is opened.

    Raises:
        InputError: if the data cannot be used at all.
    """
    return open_source(config).has_test


def load_test(config: DataConfig) -> Part:
    """The test set, decoded like the training images: for the one reading after a search.

    Raises:
        InputError: if there is no test set or an image of it cannot be read.
    """
    return open_source(config).test()
