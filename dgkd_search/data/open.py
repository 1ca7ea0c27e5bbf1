"""From a configuration of the data to the dataset that it names."""

from __future__ import annotations

from dgkd_search.data.config import DataConfig
from dgkd_search.data.kinds import data_problems, get_dataset
from dgkd_search.data.types import Dataset, Part
from dgkd_search.errors import InputError


def open_dataset_files(config: DataConfig) -> Dataset:
    """The dataset that ``config`` names.

    Raises:
        InputError: every setting outside its range, or a folder that cannot be used.
    """
    if problems := data_problems(config):
        raise InputError(problems)
    return get_dataset(config.dataset).open(config)


def has_test(config: DataConfig) -> bool:
    """Whether the dataset has a test set; none of its images is opened.

    Raises:
        InputError: if the data cannot be used at all.
    """
    return open_dataset_files(config).has_test


def load_test(config: DataConfig) -> Part:
    """The test set, decoded like the training images: for the one reading after a search.

    Raises:
        InputError: if there is no test set or an image of it cannot be read.
    """
    return open_dataset_files(config).test()
