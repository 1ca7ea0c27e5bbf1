from pathlib import Path

import numpy as np
import pytest

import dgkd_search.data.cache as module
from dgkd_search.data import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError


def test_known_constants_are_for_color_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--normalize imagenet: is for color images"):
        prepare(DataConfig("digits", normalize="imagenet"), tmp_path)


def test_statistics_over_many_chunks_and_constant_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), np.uint8)
    images[:, 1] = 51
    mean, std = module._statistics(images)
    pixels = images / 255
    assert mean == pytest.approx(pixels.mean((0, 2, 3)))
    assert std[::2] == pytest.approx(pixels.std((0, 2, 3))[::2]) and std[1] == 1e-3
