"""Runs that began under earlier decoding rules: they go on, or are refused with the reason."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.earlier import prepare_by_first_rules
from helpers.folders import save_image
from PIL import Image

from dgkd_search.data import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding_rules import FIRST_RULES
from dgkd_search.data.earlier_rules import prepare_like, why_other_pixels
from dgkd_search.data.open import load_test


def save(path: Path, pixels: np.ndarray, alpha: int) -> None:
    """Save an RGB image with the same alpha everywhere."""
    save_image(path, np.dstack([pixels, np.full(pixels.shape[:2], alpha)]))


@pytest.fixture(params=["memory", "stream"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> DataConfig:
    """Transparent images of two classes."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 2)):
        for name in ("a", "b"):
            for i in range(count):
                pixels = generator.integers(0, 256, (16, 16, 3))
                save(tmp_path / "data" / part / name / f"{i}.png", pixels, 0)
    return DataConfig("imagefolder", str(tmp_path / "data"), 16, images=request.param)


def test_a_run_goes_on_with_its_prepared_data(config: DataConfig, tmp_path: Path) -> None:
    before = prepare_by_first_rules(config, tmp_path / "cache")
    lines: list[str] = []
    data = prepare_like(config, before.info.fingerprint, tmp_path / "cache", lines.append)
    assert data == before and data.info.decoded_by.rules == FIRST_RULES
    assert len(lines) == 1 and "decoding rules 1 apply" in lines[0]
    assert "transparent images are laid on a background" in lines[0]
    # The present rules give other pixels, under another name and fingerprint.
    now = prepare(config, tmp_path / "cache")
    assert now.path != before.path and now.info.fingerprint != before.info.fingerprint


def test_the_test_set_of_a_run_is_decoded_as_its_training_images(
    config: DataConfig, tmp_path: Path
) -> None:
    before = prepare_by_first_rules(config, tmp_path / "cache")
    test = load_test(config, before.info.decoded_by)
    with Image.open(tmp_path / "data/test/a/0.png") as image:
        assert np.array_equal(test.images[0].transpose(1, 2, 0), np.asarray(image)[..., :3])
    now = prepare(config, tmp_path / "cache")
    for decoding in (now.info.decoded_by, None):
        assert (load_test(config, decoding).images == 255).all()


def test_without_its_prepared_data_the_reason_is_given(config: DataConfig, tmp_path: Path) -> None:
    before = prepare_by_first_rules(config, tmp_path / "cache")
    shutil.rmtree(before.path)
    now = prepare_like(config, before.info.fingerprint, tmp_path / "cache")
    assert now.info.fingerprint != before.info.fingerprint
    reason = why_other_pixels(config, FIRST_RULES)
    assert reason is not None and "\n" not in reason
    assert "transparent images are laid on a background" in reason
    assert "affects 24 transparent images" in reason
    # A run of the present rules has other data for another reason.
    assert why_other_pixels(config, now.info.decoded_by.rules) is None
    assert why_other_pixels(DataConfig("digits"), FIRST_RULES) is None


def test_images_that_no_rule_touches_keep_their_fingerprint(
    config: DataConfig, tmp_path: Path
) -> None:
    for path in Path(str(config.data_dir)).rglob("*.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image)[..., :3]
        save(path, pixels, 255)  # opaque
    config = replace(config, images="memory")
    before = prepare_by_first_rules(config, tmp_path / "cache")
    data = prepare_like(config, before.info.fingerprint, tmp_path / "cache")
    assert data.path != before.path and data.info.fingerprint == before.info.fingerprint
    assert np.array_equal(data.train().images, before.train().images)


def test_damaged_data_of_earlier_rules_are_not_used(config: DataConfig, tmp_path: Path) -> None:
    before = prepare_by_first_rules(config, tmp_path / "cache")
    (before.path / "train_labels.npy").write_bytes(b"")
    now = prepare_like(config, before.info.fingerprint, tmp_path / "cache")
    assert now.path != before.path
