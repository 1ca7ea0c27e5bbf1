"""Datasets that a user's module registers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.registries import isolate
from helpers.resolving import resolved

import dgkd_search
from dgkd_search.cli.main import main
from dgkd_search.data import custom as registered
from dgkd_search.data import get_dataset, has_test, load_test, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 10, 10, 3), np.uint8)
LABELS = np.arange(60) % 3
MODULE = """
import numpy as np
import dgkd_search

rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (90, 8, 8), np.uint8), np.arange(90) % 3
dgkd_search.dataset(
    "noise",
    train=lambda: (images[:60], labels[:60]),
    test=lambda: (images[60:], labels[60:]),
    classes=["a", "b", "c"],
)
"""


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("mydata.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("mydata", None)


def test_functions_are_a_data_set(tmp_path: Path) -> None:
    calls: list[str] = []

    def part(name: str, count: int) -> tuple[np.ndarray, list[int]]:
        calls.append(name)
        return IMAGES[:count], [int(label) for label in LABELS[:count]]

    dgkd_search.dataset(
        "mine",
        train=lambda: part("train", 60),
        val=lambda: part("val", 9),
        test=lambda: part("test", 6),
        classes=("bar", "circle", "cross"),
    )
    config = DataConfig("mine")
    data = prepare(config, tmp_path)
    assert has_test(config)
    assert data.info.classes == ("bar", "circle", "cross")
    assert (data.info.train_count, data.info.validation_count) == (60, 9)
    prepare(config, tmp_path)
    assert calls == ["train", "val"], "once each; nobody has looked at the test images yet"
    assert (data.train().images == IMAGES.transpose(0, 3, 1, 2)).all()
    assert (load_test(config).labels == LABELS[:6]).all()


def test_other_images_are_other_data(tmp_path: Path) -> None:
    prints = []
    for shift in (0, 1):
        dgkd_search.dataset("mine", train=partial(lambda images: (images, LABELS), IMAGES + shift))
        prints.append(prepare(DataConfig("mine"), tmp_path).info.fingerprint)
        assert not has_test(DataConfig("mine"))
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (lambda: 1 / 0, "the function for train failed (ZeroDivisionError: division by zero)"),
        (lambda: sys.exit(3), "the function for train failed (SystemExit: 3)"),
        (lambda: IMAGES, "the function for train failed (ValueError"),
        (
            lambda: (IMAGES - 128.0, LABELS),
            "train_images go from -128 to 127; give pixels in 0..255",
        ),
        (lambda: (IMAGES, LABELS[:5]), "train_labels are int64 (5,)"),
        (lambda: (IMAGES, LABELS - 1), "train_labels: -1 must be from 0"),
    ],
)
def test_what_is_wrong_is_told(train: registered.Load, said: str, tmp_path: Path) -> None:
    dgkd_search.dataset("mine", train=train)
    with pytest.raises(InputError) as caught:
        prepare(DataConfig("mine"), tmp_path)
    (message,) = caught.value.messages
    assert message.startswith(f"--dataset mine: {said}")
    assert message.endswith(f"; fix it in {__name__}")


def test_names_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'digits': already registered"):
        dgkd_search.dataset("digits", train=lambda: (IMAGES, LABELS))
    dgkd_search.dataset("mine", train=lambda: (IMAGES, LABELS))
    dgkd_search.dataset("mine", train=lambda: (IMAGES, LABELS))  # its module is imported again
    monkeypatch.setitem(globals(), "__name__", "another")
    with pytest.raises(ValueError, match="'mine': already registered"):
        dgkd_search.dataset("mine", train=lambda: (IMAGES, LABELS))


def test_a_module_brings_a_data_set_without_a_family(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--models", "mydata", "--dataset", "noise", "--dry-run"]
    assert main(said) == 0
    assert "noise" in capsys.readouterr().out
    assert main([*said, "--data-dir", "."]) == 2
    assert "custom datasets open their own files" in capsys.readouterr().err
    assert main(["--models", "mydata", "--dataset", "nose", "--dry-run"]) == 2
    assert "--dataset nose: unknown; choose from digits" in capsys.readouterr().err
    stages, data = dgkd_search.plan(
        ["plain2-c10"], models="mydata", dataset="noise", family="plain-c10", epochs=1
    )
    assert data.info.classes == ("a", "b", "c")
    assert dgkd_search.run_trial(stages, data).stages[-1].finished


def test_a_module_that_brings_nothing_is_no_use(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty_module.py").write_text("x = 1\n")
    assert main(["--models", "empty_module", "--dry-run"]) == 2
    assert "must register something" in capsys.readouterr().err


def test_a_dataset_says_its_defaults() -> None:
    dgkd_search.dataset("mine", train=lambda: (IMAGES, LABELS), augment="flip", tiny=True)
    config = resolved(dataset="mine").config
    assert config.recipe.augment == "flip"
    assert (config.budget, config.recipe.epochs) == (20, 12), "as for digits"
    assert resolved(dataset="mine", augment="crop").config.recipe.augment == "crop"
    with pytest.raises(ValueError, match="dataset 'yours': augment 'spin' is unknown"):
        dgkd_search.dataset("yours", train=lambda: (IMAGES, LABELS), augment="spin")


def test_what_nobody_knows_is_not_augmented() -> None:
    dgkd_search.dataset("mine", train=lambda: (IMAGES, LABELS))
    assert get_dataset("cifar10").augment == "crop+flip"
    assert [get_dataset(name).augment for name in ("digits", "arrays", "mine")] == ["none"] * 3
