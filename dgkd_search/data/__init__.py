"""Datasets, their splits and their augmentation.

Names are imported on first access, so importing this package loads neither NumPy, torch nor a
dataset's library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from dgkd_search.data.cache import prepare
    from dgkd_search.data.kinds import get_dataset
    from dgkd_search.data.open import has_test, load_test
    from dgkd_search.data.prepared import DataInfo, PreparedData, open_prepared
    from dgkd_search.data.types import Part

__all__ = [
    "DataInfo",
    "Part",
    "PreparedData",
    "get_dataset",
    "has_test",
    "load_test",
    "open_prepared",
    "prepare",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DataInfo": "dgkd_search.data.prepared",
        "Part": "dgkd_search.data.types",
        "PreparedData": "dgkd_search.data.prepared",
        "get_dataset": "dgkd_search.data.kinds",
        "has_test": "dgkd_search.data.open",
        "load_test": "dgkd_search.data.open",
        "open_prepared": "dgkd_search.data.prepared",
        "prepare": "dgkd_search.data.cache",
    },
)
