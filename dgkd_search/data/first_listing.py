"""The listing of image folders in version 0.1: how data that it prepared are found again.

Later versions list more: other names of the parts, more suffixes, links once. A run that began
before goes on with the data that were prepared then, and their name contains ``first_identity``.
Nothing here ever changes.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from dgkd_search.data.formats import FORMATS
from dgkd_search.utils.hashing import digest

_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
)
_HEADERS = 100


def first_identity(root: Path) -> str | None:
    """Return what ``ImageFolder.identity`` returned in version 0.1.

    Only names, sizes, times and the headers of up to 100 training images are read.

    Args:
        root: the folder that contains ``train/``.

    Returns:
        32 hex digits, or None if that version could not use the folder: no ``train/`` in this
        spelling, or a file that cannot be read.
    """
    try:
        classes = _folders(root / "train")
        parts = ["train", *(["val"] if (root / "val").is_dir() else [])]
        listed = [
            [path for name in classes for path in _images(root / part / name)] for part in parts
        ]
        if not listed[0]:
            return None
        rows = np.linspace(0, len(listed[0]) - 1, _HEADERS).round().astype(np.int64)
        channels = 1 if all(_is_gray(listed[0][row]) for row in set(rows.tolist())) else 3
        entries = []
        for path in (path for paths in listed for path in paths):
            status = path.stat()
            name = path.relative_to(root).as_posix()
            entries.append((name, status.st_size, status.st_mtime_ns))
    except Exception:  # damaged headers raise OSError, SyntaxError, ValueError, struct.error ...
        return None
    return digest([str(root.resolve()), channels, entries])


def _is_gray(path: Path) -> bool:
    from PIL import Image  # slow to import

    if not path.is_file():  # opening a FIFO would wait for its writer
        raise ValueError(f"{path} is no regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata and large images
        with Image.open(path, formats=FORMATS) as image:
            mode = image.mode
    return mode in ("1", "L", "LA", "I") or mode.startswith("I;16")


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """Return the images at any depth, sorted; links are followed wherever they lead."""
    images: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images.extend(
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES
        )
    return sorted(images)
