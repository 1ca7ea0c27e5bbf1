"""Custom dataset kinds, downloaded or streamed like built-in ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from helpers.registries import isolate
from PIL import Image

from dgkd_search import DatasetKind, register_dataset
from dgkd_search.config.parse_options import parse_options
from dgkd_search.data import get_dataset, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.file_list import to_files
from dgkd_search.data.image_folder import ImageFolder
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.splits import choose_split
from dgkd_search.data.types import Dataset
from dgkd_search.errors import InputError
from dgkd_search.workflows.validate import ValidatedSearch, validate

_COUNT = 12  # images per class


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of images of 8 x 8 pixels."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(_COUNT):
            path = tmp_path / "pets" / "train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return tmp_path / "pets"


class Remote:
    """A dataset of seven classes that is not downloaded: reading it fails."""

    channels, image_size, validation_fraction, has_test = 3, 32, 0.1, True

    def __init__(self, root: Path) -> None:
        self.root = root

    def missing(self) -> str | None:
        return None if self.root.exists() else "remote.tar will be downloaded from example.org"

    def _fetch(self, *_: object) -> NoReturn:
        raise AssertionError("nothing may be fetched before a search starts")

    classes = property(_fetch)
    identity = labels = read = test = _fetch


def validated(tmp_path: Path, dataset: str, **values: object) -> ValidatedSearch:
    said = {"dataset": dataset, "store": str(tmp_path / "store"), "out": str(tmp_path / "run")}
    return validate(parse_options({**said, **values}))


def remote(root: Path) -> Callable[[DataConfig], Dataset]:
    return lambda config: Remote(root)


def test_a_downloaded_dataset_is_checked_before_it_is_fetched(tmp_path: Path) -> None:
    root = tmp_path / "there"
    register_dataset(DatasetKind("remote", remote(root), class_count=7))
    found = validated(tmp_path, "remote")
    assert found.images == "remote.tar will be downloaded from example.org"
    assert found.outputs is None
    root.mkdir()
    images = validated(tmp_path, "remote").images
    assert images == f"in {root}; counted when the search starts"
    with pytest.raises(InputError, match="--normalize imagenet: needs color images"):
        register_dataset(DatasetKind("gray", lambda config: Gray(root), class_count=7))
        validated(tmp_path, "gray", normalize="imagenet")


class Gray(Remote):
    channels = 1


def test_a_dataset_of_image_files_is_streamed(root: Path, tmp_path: Path) -> None:
    register_dataset(
        DatasetKind("pets", lambda config: ImageFolder(root, 8), "crop", streamable=True)
    )
    found = validated(tmp_path, "pets", images="stream")
    assert found.images is not None and "2 classes (a, b), 8 x 8, color" in found.images
    assert found.resolved.config.recipe.augment == "crop"
    data = prepare(DataConfig("pets", images="stream"), tmp_path / "cache")
    assert data.info.streamed
    paths = data.listing("train").paths(range(data.info.train_count))
    assert {path.parent for path in paths} == {root / "train" / name for name in ("a", "b")}


def test_what_is_no_files_is_not_streamed(root: Path) -> None:
    register_dataset(
        DatasetKind("pets", lambda config: ImageFolder(root, 8), streamable=True), __name__
    )
    with pytest.raises(InputError, match=r"streamed \(imagefolder, pets\), not digits"):
        open_dataset_files(DataConfig("digits", images="stream"))
    digits = open_dataset_files(DataConfig("digits"))
    with pytest.raises(TypeError, match=r"Digits: has no files to stream; implement ImageFiles"):
        to_files(digits, choose_split(digits, DataConfig("digits")))


def test_a_kind_belongs_to_the_module_that_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (3, 4):  # its module is imported again
        register_dataset(DatasetKind("mine", remote(Path()), class_count=count))
    assert get_dataset("mine").class_count == 4
    monkeypatch.setitem(globals(), "__name__", "another")
    with pytest.raises(ValueError, match="'mine': already registered"):
        register_dataset(DatasetKind("mine", remote(Path())))


def test_an_unknown_augmentation_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'mine': augment 'spin' is unknown; choose from none, cr"):
        DatasetKind("mine", remote(Path()), "spin")


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="'mine': class_count 1 is below 2"):
        DatasetKind("mine", remote(Path()), class_count=1)


class OwnFiles:
    """Image files by their names alone: only the workers decode them by the rules."""

    validation_fraction, has_test = 0.1, False

    def __init__(self, root: Path) -> None:
        folder = ImageFolder(root, 8)
        self.root, self.classes = root, folder.classes
        self.channels, self.image_size = folder.channels, folder.image_size
        self.identity, self.labels, self.names = folder.identity, folder.labels, folder.names
        self.read, self.test = folder.read, folder.test


def test_the_background_reaches_a_streamed_dataset_of_ones_own(root: Path, tmp_path: Path) -> None:
    register_dataset(DatasetKind("own", lambda config: OwnFiles(root), streamable=True))
    (white, black, memory) = (
        prepare(DataConfig("own", images=images, background=background), tmp_path / "cache").info
        for images, background in (("stream", "white"), ("stream", "black"), ("memory", "black"))
    )
    assert white.decoded_by.background == (255, 255, 255)
    assert black.decoded_by.background == (0, 0, 0) and memory.decoding is None
    assert white.fingerprint != black.fingerprint
    for images, expected in (("stream", 0), ("memory", 1)):
        found = validated(tmp_path, "own", images=images, background="black")
        warnings = found.resolved.warnings
        assert sum("--background has no effect" in line for line in warnings) == expected
