"""From a configuration of the data to the dataset that it names."""

from __future__ import annotations

from pathlib import Path

from dgkd_search.data.config import DATASETS, IMAGES, DataConfig
from dgkd_search.data.types import Dataset, Part
from dgkd_search.errors import InputError

MIN_IMAGE_SIZE = 8  # below it, views cannot be shifted by an eighth
FOLDER_IMAGE_SIZE = 32


def open_dataset_files(config: DataConfig) -> Dataset:
    """The dataset that ``config`` names.

    Raises:
        InputError: every setting outside its range, or a folder that cannot be used.
    """
    _check(config)
    if config.dataset == "digits":
        from dgkd_search.data.digits import Digits

        return Digits(config.image_size)
    if config.dataset == "imagefolder":
        from dgkd_search.data.image_folder import ImageFolder

        size = config.image_size or FOLDER_IMAGE_SIZE
        return ImageFolder(Path(config.data_dir or "").expanduser(), size)
    if config.dataset == "arrays":
        from dgkd_search.data.npz import NpzDataset

        return NpzDataset(Path(config.data_dir or "").expanduser(), config.image_size)
    if config.dataset not in DATASETS:
        from dgkd_search.data.custom import open_custom

        return open_custom(config.dataset, config.image_size)
    from dgkd_search.data.cifar import Cifar

    root = Path(config.data_dir).expanduser() if config.data_dir else None
    return Cifar(config.dataset, root, config.image_size)


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


def _check(config: DataConfig) -> None:
    problems: list[str] = []
    if config.dataset not in DATASETS:
        from dgkd_search.data.custom import get_dataset

        try:
            get_dataset(config.dataset)
        except InputError as error:
            problems += error.messages
    if config.dataset == "imagefolder" and not config.data_dir:
        problems.append("data-dir: an imagefolder needs one; name the folder that holds train/")
    if config.dataset == "arrays" and not config.data_dir:
        problems.append("data-dir: arrays need one; name the .npz file that holds them")
    if config.image_size is not None and config.image_size < MIN_IMAGE_SIZE:
        problems.append(f"image-size {config.image_size}: must be at least {MIN_IMAGE_SIZE} pixels")
    if config.images not in IMAGES:
        problems.append(f"images {config.images!r}: choose from {', '.join(IMAGES)}")
    if config.images == "stream" and config.dataset != "imagefolder":
        problems.append(
            "images 'stream': only an imagefolder is streamed; leave it out, or use one"
        )
    if config.split_seed < 0:
        problems.append(f"split-seed {config.split_seed}: must be at least 0")
    if problems:
        raise InputError(problems)
