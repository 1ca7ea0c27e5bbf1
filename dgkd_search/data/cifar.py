"""CIFAR-10 and CIFAR-100, read and verified with torchvision."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Sequence
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from dgkd_search.data.decoding import resize
from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.hashing import digest

_NATIVE_SIZE = 32


class Cifar:
    """CIFAR-10 or CIFAR-100: 32 × 32 RGB images, downloaded if missing.

    Args:
        dataset: ``cifar10`` or ``cifar100``.
        root: folder of the archive or of its unpacked files; None for a folder in the user's cache.
        image_size: height and width in pixels, or None for 32.

    Every method that reads raises InputError if a file has a wrong checksum, or is missing and
    cannot be downloaded.
    """

    channels = 3
    validation_fraction = 0.1
    has_test = True

    def __init__(self, dataset: str, root: Path | None = None, image_size: int | None = None):
        self.dataset = dataset
        self.root = root or user_cache_path("dgkd-search") / "datasets"
        self.image_size = image_size or _NATIVE_SIZE

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._train.classes)

    def identity(self) -> str:
        # torchvision rejects files with other checksums, so the checksums identify the files.
        kind = self._kind
        return digest([self.dataset, kind.train_list, kind.meta["md5"]])

    def labels(self) -> tuple[Labels, None]:
        return np.asarray(self._train.targets, np.int64), None

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        if part != "train":
            raise ValueError(f"{self.dataset} has no validation set of its own")
        return self._images(self._train.data[np.asarray(indices, np.int64)])

    def test(self) -> Part:
        data = self._load(train=False)
        return Part(self._images(data.data), np.asarray(data.targets, np.int64))

    def _images(self, pixels: Images) -> Images:
        """Convert torchvision's [N, H, W, C] to [N, C, H, W], resized to ``image_size``."""
        return resize(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), self.image_size)

    @cached_property
    def _kind(self) -> Any:
        from torchvision.datasets import CIFAR10, CIFAR100  # slow to import

        return CIFAR10 if self.dataset == "cifar10" else CIFAR100

    @cached_property
    def _train(self) -> Any:
        return self._load(train=True)

    def missing(self) -> str | None:
        """See ``Downloadable``."""
        kind = self._kind
        names = [name for name, *_ in (*kind.train_list, *kind.test_list)]
        unpacked = all((self.root / kind.base_folder / name).is_file() for name in names)
        if unpacked or (self.root / kind.filename).is_file():
            return None
        return f"{kind.filename} isn't in {self.root} and will be downloaded from {kind.url}"

    def _load(self, train: bool) -> Any:
        if not self._is_complete():
            self._download()
        with warnings.catch_warnings():
            # The published pickles store a dtype's align flag as an integer, of which NumPy 2.4.0
            # to 2.4.4 warn.
            warnings.filterwarnings("ignore", message=r".*align should be passed")
            return self._kind(str(self.root), train=train, download=False)

    def _is_complete(self) -> bool:
        """Return whether every file is there; raise InputError for files with a wrong checksum."""
        from torchvision.datasets.utils import check_integrity

        kind = self._kind
        tables = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        files = [(self.root / kind.base_folder / name, md5) for name, md5 in tables]
        complete = all(path.is_file() for path, _ in files)
        if not complete:
            files.append((self.root / kind.filename, kind.tgz_md5))
        problems = [
            f"{path}: its md5 is not {md5}, so it is damaged or a different file; "
            f"delete it, and it is downloaded again from {kind.url}"
            for path, md5 in files
            if path.is_file() and not check_integrity(path, md5)
        ]
        if problems:
            raise InputError(problems)
        return complete

    def _download(self) -> None:
        kind = self._kind
        archive = self.root / kind.filename
        had_archive = archive.is_file()
        created = [path for path in (self.root, *self.root.parents) if not path.exists()]
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Standard output is for results; the progress bar goes to standard error.
            with contextlib.redirect_stdout(sys.stderr):
                kind(str(self.root), download=True)
        except (OSError, RuntimeError, HTTPException) as error:
            if not had_archive:
                archive.unlink(missing_ok=True)  # else half a download would count as damaged
            with contextlib.suppress(OSError):  # leave no folders behind for a mistyped path
                for path in created:
                    path.rmdir()
            reason = one_line(error)
            raise InputError(
                f"{self.dataset}: not in {self.root}, and no download was possible ({reason}); "
                f"get {kind.url} (md5 {kind.tgz_md5}) and put {kind.filename} into that folder"
            ) from error
