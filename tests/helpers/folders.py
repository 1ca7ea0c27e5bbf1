"""Image folders for tests."""

from __future__ import annotations

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


def folder_config(root: Path, train_limit: int | None = None) -> DataConfig:
    return DataConfig("imagefolder", str(root), image_size=16, train_limit=train_limit)


def messages_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        prepare(folder_config(root), root.parent / "cache")
    assert not any("\n" in message for message in caught.value.messages)
    return caught.value.messages
