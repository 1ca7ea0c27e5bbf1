"""Data that stay in their files: which image belongs where, as arrays in a prepared folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.splits import Split
from dgkd_search.data.types import Dataset, ImageFiles, Images, Labels
from dgkd_search.utils.hashing import digest, to_json
from dgkd_search.utils.npy import map_array, to_npy_bytes

FileListName = Literal["train", "validation"]

_SAMPLE = 10_000  # images that mean and deviation are taken from: they settle within a few thousand
_SAMPLE_SEED = 20090808  # constant: mean and deviation are part of what a stage learns from
_CHUNK_BYTES = 2**26  # of decoded images at once


@dataclass(frozen=True)
class FileList:
    """One part's images, in its order.

    Attributes:
        root: the folder that the names start from.
        names: byte strings [N], as the file system spells them.
        labels: int64 [N], each in [0, number of classes).
    """

    root: Path
    names: NDArray[np.bytes_]
    labels: Labels

    def paths(self, rows: Iterable[int]) -> list[Path]:
        """Raises ValueError for a name that leads out of the folder."""
        names = [os.fsdecode(self.names[row]) for row in rows]
        for name in names:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} does not lie in {self.root}")
        return [self.root / name for name in names]


def to_files(dataset: Dataset, split: Split) -> dict[str, bytes]:
    """The files of a prepared folder, by name.

    Args:
        dataset: one whose kind is streamable.

    Raises:
        TypeError: it doesn't say which files hold its images.
    """
    if not isinstance(dataset, ImageFiles):
        raise TypeError(
            f"{type(dataset).__name__}: has no files to stream; give it root and names (ImageFiles)"
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
    """Map what ``to_files`` gave.

    Raises:
        OSError, EOFError, ValueError: a file is missing or damaged.
    """
    root = json.loads((folder / "root.json").read_bytes())
    if not isinstance(root, str):
        raise ValueError("root.json names no folder")
    names = map_array(folder / f"{name}_names.npy", np.dtype("S"), (count,))
    labels = map_array(folder / f"{name}_labels.npy", np.dtype(np.int64), (count,))
    return FileList(Path(root), names, labels)


def fingerprint(dataset: Dataset, split: Split, identity: str) -> str:
    """A hash of everything that determines streamed images, but for the pixels themselves.

    Contents can't be read at this size: ``identity`` stands for them, with the folder's place and
    every file's name, size and time of change. A file that is replaced under the same three isn't
    noticed; one that is merely touched, or a folder that is moved, makes other data of the same
    pictures. It differs from the fingerprint of the same images in memory.
    """
    about: list[Any] = ["stream", list(dataset.classes), dataset.channels, dataset.image_size]
    about += ["merged"] if split.merged else []
    hashed = hashlib.sha256(digest([*about, identity]).encode())
    rows = split.rows
    for array in (rows.train, rows.validation, split.train_labels, split.validation_labels):
        hashed.update(digest(len(array)).encode())
        hashed.update(np.ascontiguousarray(array, "<i8").data)
    return hashed.hexdigest()[:32]


def sample(dataset: Dataset, rows: Labels) -> Iterator[Images]:
    """Decode training images to take statistics from, a chunk at a time: 10,000, or all if fewer.

    Which ones depends on the number of rows alone.

    Raises:
        InputError: naming the files that are no readable images.
    """
    if len(rows) > _SAMPLE:
        generator = np.random.Generator(np.random.PCG64(_SAMPLE_SEED))
        rows = rows[np.sort(generator.permutation(len(rows))[:_SAMPLE])]
    chunk = max(1, _CHUNK_BYTES // (dataset.channels * dataset.image_size**2))
    for start in range(0, len(rows), chunk):
        yield dataset.read("train", rows[start : start + chunk])
