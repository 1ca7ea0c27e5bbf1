from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import dgkd_search.data.digits as digits_module
from dgkd_search.data import load_test, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.digits import Digits
from dgkd_search.data.types import Images

DIGITS = DataConfig("digits")


def _rows(images: Images) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_digits_are_split_into_three_disjoint_parts(tmp_path: Path) -> None:
    data = prepare(DIGITS, tmp_path)
    train, validation, test = data.train(), data.validation(), load_test(DIGITS)
    counts = [len(part.labels) for part in (train, validation, test)]
    assert counts == [1150, 288, 359]
    plain = load_digits()
    known: dict[bytes, list[int]] = {}
    for image, label in zip(plain.images, plain.target, strict=True):
        known.setdefault(np.floor(image * 255 / 16 + 0.5).astype(np.uint8).tobytes(), []).append(
            label
        )
    for part in (train, validation, test):
        assert part.images.dtype == np.uint8 and part.images.shape[1:] == (1, 8, 8)
        for image, label in zip(part.images, part.labels, strict=True):
            known[image.tobytes()].remove(label)
    assert not any(known.values())


def test_digits_are_the_same_wherever_the_library_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = Digits().identity()
    asked: list[dict[str, object]] = []
    load = load_digits

    def asking(**options: object) -> Any:
        asked.append(options)
        return load(**options)

    monkeypatch.setattr("sklearn.datasets.load_digits", asking)
    assert Digits().identity() == quick
    assert not asked, "scikit-learn need not be imported"
    monkeypatch.setattr(digits_module, "find_spec", lambda name: None)
    assert Digits().identity() == quick
    assert asked


def test_digits_parts_are_stratified(tmp_path: Path) -> None:
    data = prepare(DIGITS, tmp_path)
    sizes = np.bincount(load_digits().target)
    for part in (data.train(), data.validation(), load_test(DIGITS)):
        exact = sizes * len(part.labels) / sizes.sum()
        assert np.abs(np.bincount(part.labels) - exact).max() < 2


def test_the_test_set_of_digits_is_constant(tmp_path: Path) -> None:
    first = load_test(DIGITS)
    second = load_test(replace(DIGITS, split_seed=9, train_limit=100))
    assert np.array_equal(first.images, second.images)
    for seed in range(3):
        data = prepare(replace(DIGITS, split_seed=seed), tmp_path)
        used = np.concatenate((data.train().images, data.validation().images))
        assert not _rows(first.images) & _rows(used)


def test_digits_at_another_size() -> None:
    source = Digits(16)
    images = source.read("train", range(5))
    assert images.shape == (5, 1, 16, 16)
    assert source.test().images.shape == (359, 1, 16, 16)
    plain = Digits().read("train", range(5))
    assert np.abs(images.mean((1, 2, 3)) - plain.mean((1, 2, 3))).max() < 8
