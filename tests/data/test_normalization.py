from pathlib import Path

import numpy as np
import pytest

import dgkd_search.data.cache as module
from dgkd_search.data import prepare
from dgkd_search.data.config import KNOWN_STATISTICS, NORMALIZATIONS, DataConfig
from dgkd_search.data.normalization import known_statistics
from dgkd_search.errors import InputError


def test_known_constants_are_for_color_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--normalize imagenet: needs color images"):
        prepare(DataConfig("digits", normalize="imagenet"), tmp_path)


@pytest.mark.parametrize("name", KNOWN_STATISTICS)
def test_every_known_dataset_is_a_choice_with_constants_of_three_channels(name: str) -> None:
    assert name in NORMALIZATIONS
    mean, std = known_statistics(name, channels=3)
    assert len(mean) == len(std) == 3
    assert all(0.1 < value < 0.9 for value in (*mean, *std)), "of pixels in [0, 1]"


def test_statistics_over_many_chunks_and_constant_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), np.uint8)
    images[:, 1] = 51
    mean, std = module._statistics(images)
    pixels = images / 255
    assert mean == pytest.approx(pixels.mean((0, 2, 3)))
    assert std[::2] == pytest.approx(pixels.std((0, 2, 3))[::2]) and std[1] == 1e-3
