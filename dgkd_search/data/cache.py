"""Prepared data: a folder of arrays that every process of a machine maps into memory.

Images are decoded once per machine instead of once per trial, and occupy memory once. If a dataset
is too large for that, the arrays list the image files instead, and images are decoded when used.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from dgkd_search.data import file_list as listing
from dgkd_search.data.config import DataConfig, MeanStd
from dgkd_search.data.file_list import FileList, FileListName
from dgkd_search.data.kinds import get_dataset
from dgkd_search.data.normalization import known_statistics, mean_and_std
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.splits import choose_split
from dgkd_search.data.types import Dataset, Images, Part
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.files import MISPLACED, make_folder, quarantine, remove_folder, write_folder
from dgkd_search.utils.hashing import digest, sha256, to_checksummed_json
from dgkd_search.utils.limits import read_checksummed_json
from dgkd_search.utils.log import Log, silent
from dgkd_search.utils.npy import map_array, to_npy_bytes
from dgkd_search.utils.records import from_plain, to_plain

# Increase when the same settings and files give different arrays.
PREPARED_VERSION = 2
_INFO = "info.json"
_CHUNK = 4096  # images at a time; bounds the memory that the statistics need
# Decoded bytes above which ``auto`` streams a folder. A constant, not the machine's memory: the
# mode is part of the dataset's fingerprint and thus of every key.
_STREAM_ABOVE = 8 * 2**30


@dataclass(frozen=True)
class DataInfo:
    """The description of prepared data, without its arrays.

    Attributes:
        dataset: name of the ``DatasetKind``.
        classes: class names by label.
        channels: 1 (gray) or 3 (RGB).
        image_size: height and width in pixels.
        mean, std: per channel, of pixels in [0, 1]; std is at least 0.001. They are computed over
            the training set (streamed data: over a fixed sample of 10,000 of its images), or are
            the published ones that ``DataConfig.normalize`` names.
        train_count, validation_count: number of images of each part.
        fingerprint: 32 hex digits; a hash of the pixels, labels and classes of both parts. For
            streamed data see ``file_list.fingerprint``.
        path: the prepared folder.
        streamed: whether images are decoded when they are used.
    """

    dataset: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_count: int
    validation_count: int
    fingerprint: str
    path: str
    streamed: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> DataInfo:
        """Build from the output of ``to_dict``.

        Raises:
            ValueError: ``value`` is not an output of ``to_dict``.
        """
        return from_plain(cls, value)


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder; cheap to hold and to send to another process on the machine."""

    path: Path
    info: DataInfo

    def train(self) -> Part:
        """Map the training set: uint8 [N, C, H, W] and int64 [N]; not for streamed data."""
        return _map_part(self.path, "train", self.info.train_count, self.info)

    def validation(self) -> Part:
        """Map the validation set: uint8 [N, C, H, W] and int64 [N]; not for streamed data."""
        return _map_part(self.path, "validation", self.info.validation_count, self.info)

    def listing(self, part: FileListName) -> FileList:
        """Map the names and labels of a part of streamed data."""
        train = part == "train"
        count = self.info.train_count if train else self.info.validation_count
        return listing.open_listing(self.path, part, count)


def prepare(config: DataConfig, cache: Path, log: Log = silent) -> PreparedData:
    """Decode, split and store data in ``cache``, or open it if it is there already.

    Test images are not opened. Both parts are held in memory while they are written. For streamed
    data, file names and labels are stored instead, and a sample is decoded for mean and standard
    deviation. An existing folder is compared with its checksums; a damaged one is moved to
    ``cache/damaged`` and prepared again.

    Args:
        config: the dataset and its settings.
        cache: folder of prepared data, created if missing.
        log: receives a line for each damaged folder.

    Raises:
        InputError: the data or its settings cannot be used.
    """
    dataset = open_dataset_files(config)
    identity = dataset.identity()
    streamed = _is_streamed(config, dataset)
    validation = config.validation if config.validation != dataset.validation_fraction else None
    key = digest(
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
        ]
    )
    cache = cache.absolute()  # processes with other working directories open the result
    path = cache / key
    if path.exists():
        with contextlib.suppress(InputError):
            return verify_prepared(path)
    make_folder(cache)
    with FileLock(cache / f"{key}.lock"):  # a second process waits instead of decoding too
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


def open_prepared(path: str | Path) -> PreparedData:
    """Open a folder that ``prepare`` wrote, and check shapes, types and file sizes.

    Raises:
        InputError: the folder is missing or damaged.
        OSError: the folder cannot be read for another reason, so it may be intact.
    """
    path = Path(path)
    try:
        value = read_checksummed_json(path / _INFO)
        del value["files"]  # see ``verify_prepared``
        data = PreparedData(path, replace(DataInfo.from_dict(value), path=str(path)))
        if data.info.streamed:
            data.listing("train")
            data.listing("validation")
        else:
            data.train()
            data.validation()
    except (FileNotFoundError, *MISPLACED, EOFError, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
        raise InputError(
            f"{path}: prepared data missing or damaged ({reason}); "
            "start the search again to prepare the data again"
        ) from error
    return data


def verify_prepared(path: str | Path) -> PreparedData:
    """Open a folder that ``prepare`` wrote, and compare every file with its checksum.

    For streamed data, these files are the lists of names and labels; images are not read.

    Raises:
        InputError, OSError: as for ``open_prepared``.
    """
    data, path = open_prepared(path), Path(path)
    try:
        described = read_checksummed_json(path / _INFO)
        checksums = from_plain(dict[str, str], described["files"])
        for name in sorted(file.name for file in path.iterdir() if file.name != _INFO):
            with (path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != checksums.pop(name):
                    raise ValueError(f"{name} fails its checksum")
        if checksums:
            raise ValueError(f"{', '.join(checksums)} is missing")
    except (
        FileNotFoundError,
        *MISPLACED,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        reason = one_line(error)
        raise InputError(f"{path}: prepared data missing or damaged ({reason})") from None
    return data


def _is_streamed(config: DataConfig, dataset: Dataset) -> bool:
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
        files = listing.to_files(dataset, split)
        mean, std = mean_and_std(listing.sample(dataset, split.rows.train))
        fingerprint = listing.fingerprint(dataset, split, identity)
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
    )
    checksums = {name: sha256(content) for name, content in files.items()}
    return {**files, _INFO: to_checksummed_json({**info.to_dict(), "files": checksums})}


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


def _map_part(folder: Path, name: str, count: int, info: DataInfo) -> Part:
    shape = (count, info.channels, info.image_size, info.image_size)
    images = map_array(folder / f"{name}_images.npy", np.dtype(np.uint8), shape)
    return Part(images, map_array(folder / f"{name}_labels.npy", np.dtype(np.int64), (count,)))
