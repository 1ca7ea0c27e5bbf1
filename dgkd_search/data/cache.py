"""Prepared data: a folder of arrays that every process of a machine maps into memory.

Images are decoded once per machine instead of once per trial, and occupy memory once. If a dataset
is too large for that, the arrays list the image files instead, and images are decoded when used.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
from filelock import FileLock

from dgkd_search.data import file_list as listing
from dgkd_search.data.config import COLOR, DataConfig, MeanStd
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.kinds import get_dataset
from dgkd_search.data.normalization import known_statistics, mean_and_std
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.prepared import INFO, DataInfo, PreparedData, open_prepared, verify_prepared
from dgkd_search.data.splits import choose_split
from dgkd_search.data.types import Dataset, DecodedFiles, Images, Part
from dgkd_search.errors import InputError
from dgkd_search.utils.files import make_folder, quarantine, remove_folder, write_folder
from dgkd_search.utils.hashing import digest, sha256, to_checksummed_json
from dgkd_search.utils.links import lock_path
from dgkd_search.utils.log import Log, silent
from dgkd_search.utils.npy import to_npy_bytes

# Increase when the same settings and files give different arrays.
PREPARED_VERSION = 2
_CHUNK = 4096  # images at a time; bounds the memory that the statistics need
# Decoded bytes above which ``auto`` streams a folder. A constant, not the machine's memory: the
# mode is part of the dataset's fingerprint and thus of every key.
_STREAM_ABOVE = 8 * 2**30


def prepare(config: DataConfig, cache: Path, log: Log = silent) -> PreparedData:
    """Decode, split and store data in ``cache``, or open it if it is there already.

    Test images are not opened. Both parts are held in memory while they are written. For streamed
    data, file names and labels are stored instead, and a sample is decoded for mean and standard
    deviation. An existing folder is compared with its checksums; a damaged one is moved to
    ``cache/damaged`` and prepared again.

    Args:
        config: the dataset and its settings.
        cache: folder of prepared data, created if missing.
        log: receives a line for each damaged folder, and one on the scale of images of more than
            8 bits.

    Raises:
        InputError: the data or its settings cannot be used.
    """
    data = _open_or_build(config, cache, log)
    decoding = data.info.decoding
    if decoding is not None and (note := decoding.note()):
        log(note)
    return data


def _open_or_build(config: DataConfig, cache: Path, log: Log) -> PreparedData:
    dataset = open_dataset_files(config)
    identity = dataset.identity()
    streamed = is_streamed(config, dataset)
    key = _key(config, dataset, identity, streamed, decoding_of(config, dataset, streamed))
    cache = cache.absolute()  # processes with other working directories open the result
    path = cache / key
    if path.exists():
        with contextlib.suppress(InputError):
            return verify_prepared(path)
    make_folder(cache)
    with FileLock(lock_path(cache, key)):  # a second process waits instead of decoding too
        if path.exists():
            try:
                return verify_prepared(path)
            except InputError as error:
                moved = quarantine(path, cache / "damaged")
                log(f"{error}; moved to {moved}, preparing it again")
        for left in cache.glob(f".tmp-*-{key}"):  # we hold the lock: their process was killed
            remove_folder(left)
        write_folder(path, _build(config, dataset, identity, streamed))
    return open_prepared(path)


def find_prepared(config: DataConfig, cache: Path, rules: int) -> PreparedData | None:
    """Return data that an earlier version prepared by these decoding rules, if they are intact.

    Raises:
        InputError: the dataset cannot be used.
    """
    dataset = open_dataset_files(config)
    streamed = is_streamed(config, dataset)
    if decoding_of(config, dataset, streamed) is None:
        return None
    identity: str | None = dataset.identity()
    if isinstance(dataset, DecodedFiles):
        identity = dataset.identity_under(rules)
    if identity is None:
        return None
    key = _key(config, dataset, identity, streamed, Decoding(rules))
    with contextlib.suppress(InputError):
        return verify_prepared(cache.absolute() / key)
    return None


def _key(
    config: DataConfig, dataset: Dataset, identity: str, streamed: bool, decoding: Decoding | None
) -> str:
    """Return the name of the prepared folder."""
    validation = config.validation if config.validation != dataset.validation_fraction else None
    return digest(
        [
            PREPARED_VERSION,
            config.dataset,
            dataset.image_size,
            config.train_limit,
            config.split_seed,
            identity,
            *(["stream"] if streamed else []),
            *(["merged"] if config.merged else []),
            *([config.normalize] if config.normalize != "train" else []),
            *([["validation", validation]] if validation is not None else []),
            *(decoding.key() if decoding is not None else []),
        ]
    )


def decoding_of(config: DataConfig, dataset: Dataset, streamed: bool) -> Decoding | None:
    """Return how image files of a dataset are decoded; None if none are decoded here."""
    if isinstance(dataset, DecodedFiles):
        return dataset.decoding
    # Workers decode the files of a user's own streamed dataset.
    return Decoding(background=COLOR.rgb(config.background)) if streamed else None


def is_streamed(config: DataConfig, dataset: Dataset) -> bool:
    """Return whether images are decoded during training instead of beforehand."""
    if config.images != "auto" or not get_dataset(config.dataset).streamable:
        return config.images == "stream"
    rows = choose_split(dataset, config).rows
    images = len(rows.train) + len(rows.validation)
    return images * dataset.channels * dataset.image_size**2 > _STREAM_ABOVE


def _build(config: DataConfig, dataset: Dataset, identity: str, streamed: bool) -> dict[str, bytes]:
    """Return the files of a prepared folder, by name."""
    constants = (
        known_statistics(config.normalize, dataset.channels)
        if config.normalize != "train"
        else None
    )
    split = choose_split(dataset, config)
    if streamed:
        if isinstance(dataset, DecodedFiles):
            dataset.measure_values()  # workers can't
        files = listing.to_files(dataset, split)
        mean, std = mean_and_std(listing.sample(dataset, split.rows.train))
        decoding = decoding_of(config, dataset, streamed)
        rules = decoding.key() if decoding is not None else []
        fingerprint = listing.fingerprint(dataset, split, identity, rules)
    else:
        rows = split.rows
        images = [dataset.read(part, those) for part, those in split.training]
        joined = images[0] if len(images) == 1 else np.concatenate(images)
        train = Part(joined, split.training_labels)
        del images, joined
        pixels = dataset.read(split.validation_in, rows.validation)
        validation = Part(pixels, split.validation_labels)
        files = _to_files(train, validation)
        mean, std = _statistics(train.images)
        fingerprint = _fingerprint(dataset.classes, train, validation)
    if constants is not None:
        mean, std = constants
        # the fingerprint so far covers the pixels but not the constants
        fingerprint = digest([fingerprint, config.normalize])
    info = DataInfo(
        dataset=config.dataset,
        classes=dataset.classes,
        channels=dataset.channels,
        image_size=dataset.image_size,
        mean=mean,
        std=std,
        train_count=len(split.training_labels),
        validation_count=len(split.validation_labels),
        fingerprint=fingerprint,
        path="",  # set when it is opened, as the cache may move
        streamed=streamed,
        decoding=decoding_of(config, dataset, streamed),
    )
    checksums = {name: sha256(content) for name, content in files.items()}
    return {**files, INFO: to_checksummed_json({**info.to_dict(), "files": checksums})}


def _to_files(train: Part, validation: Part) -> dict[str, bytes]:
    return {
        "train_images.npy": to_npy_bytes(train.images),
        "train_labels.npy": to_npy_bytes(train.labels),
        "validation_images.npy": to_npy_bytes(validation.images),
        "validation_labels.npy": to_npy_bytes(validation.labels),
    }


def _statistics(images: Images) -> MeanStd:
    return mean_and_std(images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))


def _fingerprint(classes: tuple[str, ...], train: Part, validation: Part) -> str:
    hashed = hashlib.sha256(digest(list(classes)).encode())
    for part in (train, validation):
        hashed.update(digest(list(part.images.shape)).encode())
        hashed.update(np.ascontiguousarray(part.images).data)
        hashed.update(np.ascontiguousarray(part.labels, "<i8").data)
    return hashed.hexdigest()[:32]
