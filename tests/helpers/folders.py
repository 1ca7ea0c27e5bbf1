"""Image folders for tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image

from dgkd_search.data import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError


def save_image(path: Path, pixels: ArrayLike) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def save_tiny(path: Path) -> None:
    """Save an image of 2 x 2 pixels, 23 bytes in size, whose content follows from its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6\n2 2\n255\n" + hashlib.sha256(os.fsencode(path)).digest()[:12])


def save_classes(folder: Path, classes: Iterable[str] = "ab", count: int = 4) -> Path:
    """Save some tiny images per class, and return the folder."""
    for name in classes:
        for number in range(count):
            save_tiny(folder / name / f"{number}.ppm")
    return folder


def folder_config(root: Path, train_limit: int | None = None) -> DataConfig:
    return DataConfig("imagefolder", str(root), image_size=16, train_limit=train_limit)


def messages_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        prepare(folder_config(root), root.parent / "cache")
    assert not any("\n" in message for message in caught.value.messages)
    return caught.value.messages
