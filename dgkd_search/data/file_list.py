"""File lists of streamed data: names and labels of the image files, as arrays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.splits import Split
from dgkd_search.data.types import Dataset, ImageFiles, Images, Labels
from dgkd_search.utils.hashing import digest, to_json
from dgkd_search.utils.limits import read_json
from dgkd_search.utils.npy import map_array, to_npy_bytes

FileListName = Literal["train", "validation"]

_SAMPLE = 10_000  # images for mean and deviation, which are stable after a few thousand
_SAMPLE_SEED = 20090808  # constant, as mean and deviation affect the training data of every stage
_CHUNK_BYTES = 2**26  # decoded images held at a time


@dataclass(frozen=True)
class FileList:
    """The image files of one part, in order.

    Attributes:
        root: the folder that the names are relative to.
        names: byte strings [N], encoded as in the file system.
        labels: int64 [N], each in [0, number of classes).
    """

    root: Path
    names: NDArray[np.bytes_]
    labels: Labels

    def paths(self, rows: Iterable[int]) -> list[Path]:
        """Return the paths of these rows.

        Raises:
            ValueError: a name leads out of the folder.
        """
        names = [os.fsdecode(self.names[row]) for row in rows]
        for name in names:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} is not inside {self.root}")
        return [self.root / name for name in names]


def to_files(dataset: Dataset, split: Split) -> dict[str, bytes]:
    """Return the files of a prepared folder of streamed data, by name.

    Args:
        dataset: a dataset whose kind is streamable.
        split: the images of both parts.

    Raises:
        TypeError: the dataset does not implement ``ImageFiles``.
    """
    if not isinstance(dataset, ImageFiles):
        raise TypeError(
            f"{type(dataset).__name__}: has no files to stream; implement ImageFiles (root, names)"
        )
    rows = split.rows
    return {
        "root.json": to_json(str(dataset.root.absolute())),
        "train_names.npy": to_npy_bytes(
            np.array([n for part, those in split.training for n in dataset.names(part, those)])
        ),
        "train_labels.npy": to_npy_bytes(split.training_labels),
        "validation_names.npy": to_npy_bytes(
            np.array(dataset.names(split.validation_in, rows.validation))
        ),
        "validation_labels.npy": to_npy_bytes(split.validation_labels),
    }


def open_listing(folder: Path, name: FileListName, count: int) -> FileList:
    """Map the file list of a part that ``to_files`` wrote.

    Raises:
        OSError, EOFError, ValueError: a file is missing or damaged.
    """
    root = read_json(folder / "root.json")
    if not isinstance(root, str):
        raise ValueError("root.json names no folder")
    names = map_array(folder / f"{name}_names.npy", np.dtype("S"), (count,))
    labels = map_array(folder / f"{name}_labels.npy", np.dtype(np.int64), (count,))
    return FileList(Path(root), names, labels)


def fingerprint(
    dataset: Dataset, split: Split, identity: str, decoding: Sequence[object] = ()
) -> str:
    """Return a hash of everything that determines streamed images except the pixels.

    Reading the contents of such a large dataset would take too long. ``identity`` stands for them:
    the folder's path and the name, size and modification time of every file. Replacing a file
    without changing these is not noticed; touching a file or moving the folder changes the
    fingerprint. The same images held in memory have a different fingerprint. ``decoding`` stands
    for the rules by which the files become pixels (``Decoding.key``).
    """
    about: list[Any] = ["stream", list(dataset.classes), dataset.channels, dataset.image_size]
    about += ["merged"] if split.merged else []
    about += decoding
    hashed = hashlib.sha256(digest([*about, identity]).encode())
    rows = split.rows
    for array in (rows.train, rows.validation, split.train_labels, split.validation_labels):
        hashed.update(digest(len(array)).encode())
        hashed.update(np.ascontiguousarray(array, "<i8").data)
    return hashed.hexdigest()[:32]


def sample(dataset: Dataset, rows: Labels) -> Iterator[Images]:
    """Decode 10,000 training images for statistics (all, if there are fewer), in chunks.

    The choice depends only on the number of rows.

    Raises:
        InputError: names the files that are not readable images.
    """
    if len(rows) > _SAMPLE:
        generator = np.random.Generator(np.random.PCG64(_SAMPLE_SEED))
        rows = rows[np.sort(generator.permutation(len(rows))[:_SAMPLE])]
    chunk = max(1, _CHUNK_BYTES // (dataset.channels * dataset.image_size**2))
    for start in range(0, len(rows), chunk):
        yield dataset.read("train", rows[start : start + chunk])
