"""A folder of images: ``train/``, optionally ``val/`` and ``test/``, one subfolder per class."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from dgkd_search.data.decoding import all_gray, decode_images
from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.errors import InputError
from dgkd_search.utils.hashing import digest

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
)
_HEADERS = 100  # reading the headers of all files could take minutes on a network drive


class ImageFolder:
    """Images below ``train/<class>/``, at any depth; hidden files and folders are skipped.

    Labels follow the alphabetical order of the class names; images are ordered by path. The dataset
    is gray if all of up to 100 evenly spaced training images are gray.

    Before ``test`` is called, only the class names below ``test/`` are read.

    Args:
        root: the folder that contains ``train/``.
        image_size: height and width in pixels to which every image is resized.

    Raises:
        InputError: lists everything that is wrong with the folders and their names.
    """

    validation_fraction = 0.1

    def __init__(self, root: Path, image_size: int) -> None:
        self.root = root
        self.image_size = image_size
        self.has_test = _is_folder(root / "test")
        self.classes = _train_classes(root)
        has_validation = _is_folder(root / "val")
        problems = [
            message
            for name, is_there in (("val", has_validation), ("test", self.has_test))
            if is_there
            for message in _compare_classes(root / name, self.classes)
        ]
        self._train = self._list("train", problems)
        self._val = self._list("val", problems) if has_validation else None
        if problems:
            raise InputError(problems)

    @cached_property
    def channels(self) -> int:
        paths = self._paths("train")
        rows = np.unique(np.linspace(0, len(paths) - 1, _HEADERS).round().astype(np.int64))
        return 1 if all_gray([paths[row] for row in rows.tolist()]) else 3

    def identity(self) -> str:
        # File sizes and times stand for the contents: reading them would cost what the cache saves.
        # The root is included because unpacked archives can have equal sizes and times.
        entries = []
        for path in [*self._paths("train"), *(self._paths("val") if self._val else ())]:
            try:
                status = path.stat()
            except OSError as error:  # for example a dangling link
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}); replace or remove the file"
                ) from error
            name = path.relative_to(self.root).as_posix()
            entries.append((name, status.st_size, status.st_mtime_ns))
        return digest([str(self.root.resolve()), self.channels, entries])

    def labels(self) -> tuple[Labels, Labels | None]:
        return _labels(self._train), None if self._val is None else _labels(self._val)

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        paths = self._paths(part)
        chosen = [paths[row] for row in np.asarray(indices, np.int64).tolist()]
        return decode_images(chosen, self.channels, self.image_size)

    def names(self, part: PartName, indices: Sequence[int] | Labels) -> list[bytes]:
        """See ``ImageFiles``."""
        paths = self._paths(part)
        chosen = (paths[row] for row in np.asarray(indices, np.int64).tolist())
        return [os.fsencode(path.relative_to(self.root)) for path in chosen]

    def test(self) -> Part:
        if not self.has_test:
            raise InputError(f"{self.root}: has no test set; add test/ with one folder per class")
        by_class = [_images_below(self.root / "test" / name) for name in self.classes]
        paths = [path for paths in by_class for path in paths]
        if not paths:
            raise InputError(f"{self.root / 'test'}: contains no images; {_expected()}")
        return Part(decode_images(paths, self.channels, self.image_size), _labels(by_class))

    def _list(self, part: PartName, problems: list[str]) -> list[list[Path]]:
        """Return the image paths by class; add a message to ``problems`` for each empty class."""
        folders = [self.root / part / name for name in self.classes]
        by_class = [_images_below(folder) if _is_folder(folder) else [] for folder in folders]
        problems.extend(
            f"{folder}: contains no images; {_expected()} or remove the class"
            for folder, paths in zip(folders, by_class, strict=True)
            if _is_folder(folder) and not paths
        )
        return by_class

    def _paths(self, part: PartName) -> list[Path]:
        by_class = self._train if part == "train" else self._val
        if by_class is None:
            raise ValueError(f"{self.root} has no val/")
        return [path for paths in by_class for path in paths]


def _labels(by_class: Sequence[Sequence[Path]]) -> Labels:
    return np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])


def _train_classes(root: Path) -> tuple[str, ...]:
    train = root / "train"
    if not _is_folder(root):
        raise InputError(f"data-dir {root}: is not a folder; give the one that contains train/")
    if not _is_folder(train):
        raise InputError(f"data-dir {root}: has no train/; {_where(root)}")
    classes = _class_names(train)
    if not classes:
        raise InputError(f"{train}: contains no classes; add one folder of images per class")
    if len(classes) == 1:
        raise InputError(f"{train}: contains only one class, {classes[0]!r}; add at least one more")
    return classes


def _where(root: Path) -> str:
    """Return advice for a folder without train/, which may be one level above or below."""
    for above in (root.absolute(), *root.absolute().parents[:2]):
        if above.name in ("train", "val", "test") and _is_folder(above.parent / "train"):
            return f"name the folder above, {above.parent}"
    with contextlib.suppress(OSError):
        below = [path for path in sorted(root.iterdir()) if _is_folder(path / "train")]
        if below:
            return f"name the subfolder that has it, {' or '.join(map(str, below[:3]))}"
    return "add it, with one folder per class"


def _compare_classes(folder: Path, classes: Sequence[str]) -> list[str]:
    present = set(_class_names(folder))
    missing, extra = sorted(set(classes) - present), sorted(present - set(classes))
    differences = [
        f"{verb} {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
        for verb, names in (("lacks", missing), ("adds", extra))
        if names
    ]
    if not differences:
        return []
    return [f"{folder}: its classes must be those of train/, but it {' and '.join(differences)}"]


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        _cannot_list(error)
    return tuple(sorted(name for name in names if not name.startswith(".")))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # for example a parent folder without permission
        _cannot_list(error)


def _images_below(folder: Path) -> list[Path]:
    """Return image paths, sorted. Links are followed, as subsets are often folders of links."""
    images: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_cannot_list, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images.extend(
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
        )
    return sorted(images)


def _cannot_list(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: cannot be listed ({error.strerror}); check its permissions"
    ) from error


def _expected() -> str:
    return f"add files ending in {', '.join(sorted(EXTENSIONS))}"
