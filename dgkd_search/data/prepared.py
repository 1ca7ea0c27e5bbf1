"""Prepared data: opening, and comparison with their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dgkd_search.data import file_list as listing
from dgkd_search.data.decoding_rules import FIRST_RULES, Decoding
from dgkd_search.data.file_list import FileList, FileListName
from dgkd_search.data.types import Part
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.files import MISPLACED
from dgkd_search.utils.hashing import UNREADABLE
from dgkd_search.utils.limits import hash_file, read_checksummed_json
from dgkd_search.utils.links import check_no_link
from dgkd_search.utils.npy import map_array
from dgkd_search.utils.records import from_plain, to_plain

INFO = "info.json"


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
        decoding: how image files were decoded; None for other datasets, and for those that
            versions without decoding rules prepared.
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
    decoding: Decoding | None = None

    @property
    def decoded_by(self) -> Decoding:
        """How image files of the same dataset must be decoded."""
        return (self.decoding or Decoding(FIRST_RULES)).with_range()

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""
        value = to_plain(self)
        if self.decoding is None:
            del value["decoding"]
        return value

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


def open_prepared(path: str | Path) -> PreparedData:
    """Open a folder that ``prepare`` wrote, and check shapes, types and file sizes.

    Raises:
        InputError: the folder is missing or damaged.
        OSError: the folder cannot be read for another reason, so it may be intact.
    """
    path = Path(path)
    try:
        check_no_link(path, *path.iterdir())
        value = read_checksummed_json(path / INFO)
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
        described = read_checksummed_json(path / INFO)
        checksums = from_plain(dict[str, str], described["files"])
        present = {file.name for file in path.iterdir()} - {INFO}
        if odd := present ^ checksums.keys():
            raise ValueError(f"{min(odd)} is missing, or does not belong there")
        for name, checksum in checksums.items():
            if hash_file(path / name) != checksum:
                raise ValueError(f"{name} fails its checksum")
    except (FileNotFoundError, *MISPLACED, *UNREADABLE) as error:
        reason = one_line(error)
        raise InputError(f"{path}: prepared data missing or damaged ({reason})") from None
    return data


def _map_part(folder: Path, name: str, count: int, info: DataInfo) -> Part:
    shape = (count, info.channels, info.image_size, info.image_size)
    images = map_array(folder / f"{name}_images.npy", np.dtype(np.uint8), shape)
    return Part(images, map_array(folder / f"{name}_labels.npy", np.dtype(np.int64), (count,)))
