"""Opening the dataset that a configuration names."""

from __future__ import annotations

from dataclasses import replace

from dgkd_search.data.config import COLOR, DataConfig
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.kinds import data_problems, get_dataset
from dgkd_search.data.types import Dataset, DecodedFiles, Part
from dgkd_search.errors import InputError


def open_dataset_files(config: DataConfig) -> Dataset:
    """Open the dataset that ``config`` names.

    Raises:
        InputError: settings are invalid, or the folder or file cannot be used.
    """
    if problems := data_problems(config):
        raise InputError(problems)
    dataset = get_dataset(config.dataset).open(config)
    if isinstance(dataset, DecodedFiles):
        background = COLOR.rgb(config.background)
        dataset.decoding = replace(dataset.decoding, background=background)
    return dataset


def has_test(config: DataConfig) -> bool:
    """Return whether the dataset has a test set; no test image is opened.

    Raises:
        InputError: the dataset cannot be used.
    """
    return open_dataset_files(config).has_test


def load_test(config: DataConfig, decoding: Decoding | None = None) -> Part:
    """Return the test set; for the final evaluation only.

    Args:
        config: the dataset and its settings.
        decoding: how the training images were decoded (``DataInfo.decoded_by``); by default as this
            version would decode them.

    Raises:
        InputError: there is no test set, or one of its images cannot be read.
    """
    dataset = open_dataset_files(config)
    if decoding is not None and isinstance(dataset, DecodedFiles):
        dataset.decoding = decoding
    return dataset.test()
