"""Datasets, their splits and their augmentation.

Names are imported when they are first asked for: neither NumPy nor torch nor a library that a
dataset comes from is loaded before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from dgkd_search.data.cache import (
        DataInfo,
        PreparedData,
        open_prepared,
        prepare,
        verify_prepared,
    )
    from dgkd_search.data.config import DataConfig
    from dgkd_search.data.custom import dataset
    from dgkd_search.data.kinds import DatasetKind, dataset_names, get_dataset
    from dgkd_search.data.open import has_test, load_test, open_dataset_files
    from dgkd_search.data.types import Part

__all__ = [
    "DataConfig",
    "DataInfo",
    "DatasetKind",
    "Part",
    "PreparedData",
    "dataset",
    "dataset_names",
    "get_dataset",
    "has_test",
    "load_test",
    "open_dataset_files",
    "open_prepared",
    "prepare",
    "verify_prepared",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DataConfig": "dgkd_search.data.config",
        "DataInfo": "dgkd_search.data.cache",
        "DatasetKind": "dgkd_search.data.kinds",
        "Part": "dgkd_search.data.types",
        "PreparedData": "dgkd_search.data.cache",
        "dataset": "dgkd_search.data.custom",
        "dataset_names": "dgkd_search.data.kinds",
        "get_dataset": "dgkd_search.data.kinds",
        "has_test": "dgkd_search.data.open",
        "load_test": "dgkd_search.data.open",
        "open_dataset_files": "dgkd_search.data.open",
        "open_prepared": "dgkd_search.data.cache",
        "prepare": "dgkd_search.data.cache",
        "verify_prepared": "dgkd_search.data.cache",
    },
)
