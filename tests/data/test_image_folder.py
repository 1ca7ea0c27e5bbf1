"""Image folders: reading, and errors for bad ones."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from helpers.folders import folder_config, messages_of, save_image
from PIL import Image

from dgkd_search.data import has_test, load_test, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.open import open_dataset_files
from dgkd_search.errors import InputError


def test_images_and_labels_are_those_of_the_files(root: Path) -> None:
    source = open_dataset_files(folder_config(root))
    labels, validation = source.labels()
    assert source.classes == ("a", "b") and source.channels == 3 and validation is None
    assert labels.tolist() == [0] * 10 + [1] * 10
    images = source.read("train", [13, 2])
    for image, name in zip(images, ("b/3.png", "a/2.png"), strict=True):
        expected = np.asarray(Image.open(root / "train" / name))
        assert np.array_equal(image, expected.transpose(2, 0, 1))


def test_prepared_parts_hold_each_image_once_with_its_label(root: Path) -> None:
    data = prepare(folder_config(root), root.parent / "cache")
    train, validation = data.train(), data.validation()
    assert (data.info.train_count, data.info.validation_count) == (18, 2)
    bright = [
        part.images.reshape(len(part.labels), -1).mean(1) > 114 for part in (train, validation)
    ]
    assert np.array_equal(bright[0], train.labels) and np.array_equal(bright[1], validation.labels)
    both = np.concatenate((train.images, validation.images))
    assert len(np.unique(both, axis=0)) == 20


def test_own_validation_part_is_used(root: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            save_image(root / "val" / name / f"{i}.png", np.full((16, 16, 3), 7))
    data = prepare(folder_config(root), root.parent / "cache")
    assert (data.info.train_count, data.info.validation_count) == (20, 6)
    assert (data.validation().images == 7).all()
    limited = prepare(folder_config(root, train_limit=8), root.parent / "cache")
    assert (limited.info.train_count, limited.info.validation_count) == (8, 4)


def test_hidden_and_other_files_are_skipped_and_deep_ones_found(root: Path) -> None:
    save_image(root / "train/.hidden/1.png", np.zeros((4, 4, 3)))
    save_image(root / "train/a/.hidden.png", np.zeros((4, 4, 3)))
    save_image(root / "train/a/.thumbs/1.png", np.zeros((4, 4, 3)))
    (root / "train/a/notes.txt").write_text("no image")
    (root / "train/list.csv").write_text("no class")
    save_image(root / "train/a/images/deep.PNG", np.full((16, 16, 3), 9))
    source = open_dataset_files(folder_config(root))
    assert source.classes == ("a", "b")
    assert np.bincount(source.labels()[0]).tolist() == [11, 10]
    assert (source.read("train", [10]) == 9).all()


@pytest.mark.parametrize("name", ["1.jpg", "1.JPEG", "1.bmp", "1.webp", "1.ppm", "1.tif", "1.gif"])
def test_formats(tmp_path: Path, name: str) -> None:
    pixels = np.tile([250, 10, 10], (16, 16, 1))
    for folder in ("a", "b"):
        for number in range(2):
            save_image(tmp_path / "train" / folder / f"{number}{name}", pixels)
    images = open_dataset_files(folder_config(tmp_path)).read("train", [0])
    assert np.abs(images[0].astype(int) - np.array([250, 10, 10])[:, None, None]).max() < 12


def test_gray_only_if_every_image_is_gray(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for i in range(3):
            save_image(tmp_path / "train" / folder / f"{i}.png", np.full((16, 16), 40 + i))
    assert open_dataset_files(folder_config(tmp_path)).channels == 1
    data = prepare(folder_config(tmp_path), tmp_path / "cache")
    assert data.info.channels == 1 and data.train().images.shape[1:] == (1, 16, 16)
    save_image(tmp_path / "train/b/9.png", np.zeros((16, 16, 3)))
    colored = open_dataset_files(folder_config(tmp_path))
    assert colored.channels == 3
    assert (colored.read("train", [0]) == 40).all()


def test_a_link_to_nothing_is_named(root: Path) -> None:
    (root / "train/b/link.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match=r"b/link\.png"):
        prepare(folder_config(root), root.parent / "cache")


def test_bad_structure(root: Path) -> None:
    empty = root.parent / "empty"
    assert "is not a folder" in messages_of(empty)[0]
    empty.mkdir()
    assert "has no train/; add it" in messages_of(empty)[0]
    # One level too deep, two levels too deep, and one level too high.
    for deep in (root / "train", root / "train" / "b"):
        assert list(messages_of(deep)) == [
            f"data-dir {deep}: has no train/; name the folder above, {root.absolute()}"
        ]
    assert f"name the subfolder that has it, {root}" in messages_of(root.parent)[0]
    (empty / "train").mkdir()
    assert "contains no classes" in messages_of(empty)[0]
    (empty / "train/only").mkdir()
    assert "contains only one class, 'only'" in messages_of(empty)[0]


def test_all_structural_problems_come_together(root: Path) -> None:
    (root / "train/c").mkdir()
    save_image(root / "val/a/1.png", np.zeros((16, 16, 3)))
    (root / "val/b").mkdir()
    save_image(root / "val/z/1.png", np.zeros((16, 16, 3)))
    (root / "test/a").mkdir(parents=True)
    messages = messages_of(root)
    assert len(messages) == 4
    assert "its classes must be those of train/, but it lacks c and adds z" in messages[0]
    assert "lacks b, c" in messages[1] and "test" in messages[1]
    assert "train/c: contains no images" in messages[2]
    assert "val/b: contains no images" in messages[3]


def test_a_class_of_one_image_cannot_be_split(root: Path) -> None:
    save_image(root / "train/c/1.png", np.zeros((16, 16, 3)))
    (message,) = messages_of(root)
    assert "class 'c': has 1 training image but needs at least 2" in message


def test_prepare_never_opens_test_images(root: Path) -> None:
    for name in ("a", "b"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "1.png").write_bytes(b"damaged")
    prepare(folder_config(root), root.parent / "cache")
    assert has_test(folder_config(root))
    with pytest.raises(InputError) as caught:
        load_test(folder_config(root))
    assert len(caught.value.messages) == 2


def test_reading_the_test_set(root: Path) -> None:
    for number, name in enumerate(("a", "b")):
        save_image(root / "test" / name / "1.png", np.full((16, 16, 3), 50 * number))
    part = load_test(folder_config(root))
    assert part.labels.tolist() == [0, 1] and part.labels.dtype == np.int64
    assert (part.images[0] == 0).all() and (part.images[1] == 50).all()


def test_no_test_set(root: Path) -> None:
    assert not has_test(folder_config(root))
    with pytest.raises(InputError, match="has no test set"):
        load_test(folder_config(root))
    for name in ("a", "b"):
        (root / "test" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="test: contains no images"):
        has_test(folder_config(root))  # before anything is trained


def test_identity_follows_the_files(root: Path) -> None:
    first = open_dataset_files(folder_config(root)).identity()
    assert open_dataset_files(folder_config(root)).identity() == first
    save_image(root / "train/a/1.png", np.zeros((16, 16, 3)))
    changed = open_dataset_files(folder_config(root)).identity()
    assert changed != first
    for name in ("a", "b"):
        save_image(root / "test" / name / "1.png", np.zeros((16, 16, 3)))
    assert open_dataset_files(folder_config(root)).identity() == changed
    moved = root.rename(root.with_name("moved"))
    assert open_dataset_files(folder_config(moved)).identity() != changed


@pytest.mark.parametrize("place", ["train", "val", "test", "train/a"])
def test_a_folder_that_cannot_be_listed_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for name in ("val/a", "val/b", "test/a", "test/b"):
        save_image(root / name / "0.png", np.zeros((16, 16, 3)))
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
        if Path(path) == root / place:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError) as caught:
        prepare(DataConfig("imagefolder", str(root), image_size=16), tmp_path / "cache")
        load_test(DataConfig("imagefolder", str(root), image_size=16))
    (message,) = caught.value.messages
    assert message == f"{root / place}: cannot be listed (Permission denied); check its permissions"


def test_a_folder_that_cannot_be_entered_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\); check its"):
        prepare(DataConfig("imagefolder", str(root), image_size=16), tmp_path / "cache")
