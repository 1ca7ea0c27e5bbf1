"""A folder of images: ``train/``, optionally ``val/`` and ``test/``, one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import FIRST_RULES, Decoding
from dgkd_search.data.first_listing import first_identity
from dgkd_search.data.folder_listing import list_folder
from dgkd_search.data.headers import all_gray, scan_headers, value_range
from dgkd_search.data.pixels import UnmeasuredRange
from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.errors import InputError
from dgkd_search.utils.hashing import digest

_HEADERS = 100  # reading the headers of all files could take minutes on a network drive


class ImageFolder:
    """Images below ``train/<class>/``, at any depth.

    Parts may have other usual names (``Training``, ``valid``); a folder that contains nothing but
    classes is the training set. Hidden files and folders, and files that cannot be decoded here,
    are left out; ``notes`` says so. Links are followed, and every file counts once in its class.

    Labels follow the alphabetical order of the class names in NFC; images are ordered by path. The
    dataset is gray if all of up to 100 evenly spaced training images are gray.

    Before ``test`` is called, no file below ``test/`` is opened.

    Args:
        root: the folder that contains ``train/``.
        image_size: height and width in pixels to which every image is resized.

    Raises:
        InputError: lists everything that is wrong with the folders and their names.
    """

    validation_fraction = 0.1
    decoding = Decoding()  # of a subclass, too, that doesn't call the constructor

    def __init__(self, root: Path, image_size: int) -> None:
        self.root = root
        self.image_size = image_size
        self._listing = list_folder(root)
        self.classes = self._listing.classes
        self.has_test = "test" in self._listing.images

    @cached_property
    def channels(self) -> int:
        paths = self._paths("train")
        rows = np.unique(np.linspace(0, len(paths) - 1, _HEADERS).round().astype(np.int64))
        try:
            return 1 if all_gray([paths[row] for row in rows.tolist()]) else 3
        except InputError:
            scan_headers(self.all_paths()).raise_damaged()  # names all, not only those of a sample
            raise

    def identity(self) -> str:
        # File sizes and times stand for the contents: reading them would cost what the cache saves.
        # The root is included because unpacked archives can have equal sizes and times.
        entries = []
        for path in [*self._paths("train"), *self._paths("val")]:
            try:
                status = path.stat()
            except OSError as error:  # for example a file that was just deleted
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}); replace or remove the file"
                ) from error
            name = path.relative_to(self.root).as_posix()
            entries.append((name, status.st_size, status.st_mtime_ns))
        # Paths determine the labels unless a folder's name is not the name of its class.
        classes = [self.classes] if self._listing.renamed else []
        return digest([str(self.root.resolve()), self.channels, entries, *classes])

    def labels(self) -> tuple[Labels, Labels | None]:
        images = self._listing.images
        return _labels(images["train"]), _labels(images["val"]) if "val" in images else None

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        paths = self._paths(part)
        chosen = [paths[row] for row in np.asarray(indices, np.int64).tolist()]
        return self._decode(chosen)

    def names(self, part: PartName, indices: Sequence[int] | Labels) -> list[bytes]:
        """See ``ImageFiles``."""
        paths = self._paths(part)
        chosen = (paths[row] for row in np.asarray(indices, np.int64).tolist())
        return [os.fsencode(path.relative_to(self.root)) for path in chosen]

    def test(self) -> Part:
        if not self.has_test:
            raise InputError(f"{self.root}: has no test set; add test/ with one folder per class")
        return Part(self._decode(self.test_files()), _labels(self._listing.images["test"]))

    def measure_values(self) -> None:
        """See ``DecodedFiles``."""
        if self.decoding.values is None:
            self.decoding = replace(self.decoding, values=value_range(self._paths("train")))

    def identity_under(self, rules: int) -> str | None:
        """See ``DecodedFiles``."""
        return first_identity(self.root) if rules == FIRST_RULES else self.identity()

    def all_paths(self) -> list[Path]:
        """See ``DecodedFiles``."""
        return [path for part in self._listing.images for path in self._paths(part)]

    def _decode(self, paths: Sequence[Path]) -> Images:
        try:
            return decode_images(paths, self.channels, self.image_size, self.decoding)
        except UnmeasuredRange:
            # Only now, because measuring reads all training images: most datasets need no range.
            self.measure_values()
            self.decoding = self.decoding.with_range()
            return decode_images(paths, self.channels, self.image_size, self.decoding)

    def test_files(self) -> list[Path]:
        """See ``ListsTestFiles``."""
        return self._paths("test")

    def notes(self) -> Sequence[str]:
        """See ``Notes``."""
        return self._listing.notes

    def _paths(self, part: str) -> list[Path]:
        """Return the images of a part in the order of their labels; none if there is no part."""
        return [path for paths in self._listing.images.get(part, []) for path in paths]


def _labels(by_class: Sequence[Sequence[Path]]) -> Labels:
    return np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
