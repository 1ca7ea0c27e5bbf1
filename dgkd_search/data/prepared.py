"""Data as a folder of arrays that every process of a machine maps into its memory.

So images are decoded once a machine and not once a trial, and lie in memory once.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from dgkd_search.config import DataConfig
from dgkd_search.data.source import Images, Part, Source, open_source
from dgkd_search.data.splits import plan
from dgkd_search.errors import InputError
from dgkd_search.files import set_aside, to_json, write_folder
from dgkd_search.identity import digest

# Raised whenever the same settings and files give other arrays.
PREPARED_VERSION = 1
_MIN_STD = 1e-3  # a constant channel is not divided by zero
_CHUNK = 4096  # images at once, which bounds what statistics need


@dataclass(frozen=True)
class DataInfo:
    """What is known of prepared data without its arrays.

    Attributes:
        classes: names by label.
        channels: 1 (grey) or 3 (RGB).
        image_size: height and width in pixels.
        mean, std: per channel, of pixels in [0, 1] over the training part; std at least 0.001.
        train_count, validation_count: images of each part.
        fingerprint: 32 hex digits; a hash of both parts' pixels, labels and classes.
        path: the prepared folder.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {name: list(getattr(self, name)) for name in _TUPLES}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> DataInfo:
        return cls(**{**value, **{name: tuple(value[name]) for name in _TUPLES}})


_TUPLES = ("classes", "mean", "std")


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder; cheap to hold and to send to another process of the machine."""

    path: Path
    info: DataInfo

    def train(self) -> Part:
        """Map the training part: uint8 [N, C, H, W] and int64 [N]."""
        return _map_part(self.path, "train", self.info.train_count, self.info)

    def validation(self) -> Part:
        """Map the validation part: uint8 [N, C, H, W] and int64 [N]."""
        return _map_part(self.path, "validation", self.info.validation_count, self.info)


def prepare(config: DataConfig, cache: Path) -> PreparedData:
    """Decode, split and store data in ``cache``, or find it there; test images stay closed.

    Both parts are held in memory while they are written. A damaged folder of the cache is moved to
    ``cache/damaged`` and made again.

    Raises:
        InputError: if the data or its settings cannot be used.
    """
    source = open_source(config)
    key = digest(
        [
            PREPARED_VERSION,
            config.dataset,
            source.image_size,
            config.train_limit,
            config.split_seed,
            source.identity(),
        ]
    )
    cache = cache.absolute()  # processes elsewhere on the machine open what we return
    path = cache / key
    if path.exists() and (data := _open_or_none(path)) is not None:
        return data
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{key}.lock"):  # a second process waits instead of decoding again
        if path.exists():
            if (data := _open_or_none(path)) is not None:
                return data
            set_aside(path, cache / "damaged")
        for left in cache.glob(f".tmp-*-{key}"):  # of a killed process, for we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        write_folder(path, _build(config, source))
    return open_prepared(path)


def open_prepared(path: str | Path) -> PreparedData:
    """Open a folder that ``prepare`` made; shapes, types and file sizes are checked.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = Path(path)
    try:
        value = json.loads((path / "info.json").read_bytes())
        data = PreparedData(path, replace(DataInfo.from_dict(value), path=str(path)))
        data.train()
        data.validation()
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: is no whole prepared data ({reason}); start the search again to make it anew"
        ) from error
    return data


def _open_or_none(path: Path) -> PreparedData | None:
    try:
        return open_prepared(path)
    except InputError:
        return None


def _build(config: DataConfig, source: Source) -> dict[str, bytes]:
    """The files of a prepared folder by name."""
    labels, own = source.labels()
    rows = plan(
        labels,
        own,
        source.classes,
        fraction=source.validation_fraction,
        limit=config.train_limit,
        seed=config.split_seed,
    )
    train = Part(source.read("train", rows.train), labels[rows.train])
    if own is None:
        validation = Part(source.read("train", rows.validation), labels[rows.validation])
    else:
        validation = Part(source.read("val", rows.validation), own[rows.validation])
    mean, std = _statistics(train.images)
    info = DataInfo(
        dataset=config.dataset,
        classes=source.classes,
        channels=source.channels,
        image_size=source.image_size,
        mean=mean,
        std=std,
        train_count=len(train.labels),
        validation_count=len(validation.labels),
        fingerprint=_fingerprint(source.classes, train, validation),
        path="",  # known when it is opened, wherever the cache lies by then
    )
    return {
        "train_images.npy": _serialise(train.images),
        "train_labels.npy": _serialise(train.labels),
        "validation_images.npy": _serialise(validation.images),
        "validation_labels.npy": _serialise(validation.labels),
        "info.json": to_json(info.to_dict()),
    }


def _statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, exact whatever the number of images."""
    levels = np.arange(256) / 255
    means: list[float] = []
    stds: list[float] = []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK, channel]
            counts += np.bincount(chunk.ravel(), minlength=256)
        shares = counts / counts.sum()
        mean = float(shares @ levels)
        means.append(mean)
        stds.append(max(float(shares @ (levels - mean) ** 2) ** 0.5, _MIN_STD))
    return tuple(means), tuple(stds)


def _fingerprint(classes: tuple[str, ...], train: Part, validation: Part) -> str:
    hashed = hashlib.sha256(digest(list(classes)).encode())
    for part in (train, validation):
        hashed.update(digest(list(part.images.shape)).encode())
        hashed.update(np.ascontiguousarray(part.images).data)
        hashed.update(np.ascontiguousarray(part.labels, "<i8").data)
    return hashed.hexdigest()[:32]


def _serialise(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _map_part(folder: Path, name: str, count: int, info: DataInfo) -> Part:
    shape = (count, info.channels, info.image_size, info.image_size)
    images = _map(folder / f"{name}_images.npy", np.dtype(np.uint8), shape)
    return Part(images, _map(folder / f"{name}_labels.npy", np.dtype(np.int64), (count,)))


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    # Copy on write: pages are shared as long as nobody writes, and torch.from_numpy, which warns of
    # read-only arrays, takes them as they are. Files too short raise ValueError here.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise ValueError(f"{path.name} is no array")
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {dtype} {shape}")
    excess = path.stat().st_size - array.offset - array.nbytes
    if excess:
        raise ValueError(f"{path.name} is {excess} bytes too long")
    return np.asarray(array)
