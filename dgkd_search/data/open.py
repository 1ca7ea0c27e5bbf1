"""Opening the dataset that a configuration names."""

from __future__ import annotations

from dgkd_search.data.config import DataConfig
from dgkd_search.data.kinds import data_problems, get_dataset
from dgkd_search.data.types import Dataset, Part
from dgkd_search.errors import InputError


def open_dataset_files(config: DataConfig) -> Dataset:
    """Open the dataset that ``config`` names.

    Raises:
        InputError: settings are invalid, or the folder or file cannot be used.
    """
    if problems := data_problems(config):
        raise InputError(problems)
    return get_dataset(config.dataset).open(config)


def has_test(config: DataConfig) -> bool:
    """Return whether the dataset has a test set; no test image is opened.

    Raises:
        InputError: the dataset cannot be used.
    """
    return open_dataset_files(config).has_test


def load_test(config: DataConfig) -> Part:
    """Return the test set, decoded like the training images; for the final evaluation only.

    Raises:
        InputError: there is no test set, or one of its images cannot be read.
    """
    return open_dataset_files(config).test()
