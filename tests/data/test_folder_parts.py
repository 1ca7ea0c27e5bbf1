"""The names by which the parts of an image folder are found."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import save_classes, save_tiny

from dgkd_search.data.folder_listing import list_folder
from dgkd_search.data.folder_parts import find_parts
from dgkd_search.errors import InputError


def error_of(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        list_folder(root)
    (message,) = caught.value.messages
    assert "\n" not in message
    return message


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("validation", ["val", "Valid", "validation", "DEV"])
@pytest.mark.parametrize("test", ["Test", "testing"])
def test_parts_are_found_by_their_usual_names_in_any_case(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    for name in (train, validation, test):
        (tmp_path / name).mkdir()
    found = find_parts(tmp_path)
    assert (found.train, found.validation, found.test) == (
        tmp_path / train,
        tmp_path / validation,
        tmp_path / test,
    )
    notes = "\n".join(found.notes)
    assert ("training set" in notes) == (train != "train")
    assert ("validation set" in notes) == (validation != "val")
    assert f"{test}/ is the test set" in notes


@pytest.mark.parametrize(
    "names", [("train", "Train"), ("val", "valid"), ("Dev", "validation"), ("TEST", "testing")]
)
def test_two_folders_for_one_part_are_refused_by_name(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in ("train", *names):
        save_classes(tmp_path / name)
    message = error_of(tmp_path)
    assert all(f"{name}/" in message for name in names) and "keep one" in message


def test_two_names_of_one_folder_are_one_part(tmp_path: Path) -> None:
    save_classes(tmp_path / "train")
    save_classes(tmp_path / "val")
    (tmp_path / "valid").symlink_to("val")
    save_classes(tmp_path / "test_2026")
    (tmp_path / "test").symlink_to("test_2026")
    found = find_parts(tmp_path)
    assert found.validation == tmp_path / "val" and found.test == tmp_path / "test"
    assert found.notes == ()


def test_a_part_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    save_classes(tmp_path / "train")
    (tmp_path / "latest").symlink_to("nowhere")
    (note,) = find_parts(tmp_path).notes
    assert str(tmp_path / "latest") in note
    (tmp_path / "Test").symlink_to("nowhere")
    assert str(tmp_path / "Test") in error_of(tmp_path)


def test_folders_and_images_beside_the_parts_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path / "train")
    save_classes(tmp_path / "test_set")
    save_tiny(tmp_path / "1.ppm")
    notes = list_folder(tmp_path).notes
    assert notes[0].startswith("not used: test_set/, as only train/, val/ and test/")
    assert notes[1].startswith(f"1 image is directly in {tmp_path.name}/")


def test_a_folder_of_classes_is_a_training_set(tmp_path: Path) -> None:
    save_classes(tmp_path, ("cat", "dog"))
    save_tiny(tmp_path / "stray.ppm")
    listing = list_folder(tmp_path)
    assert listing.classes == ("cat", "dog") and [*listing.images] == ["train"]
    assert "has no train/: its 2 folders are the classes to train on" in listing.notes[0]
    assert listing.notes[1].startswith("1 image is directly in ")


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("images", "labels"), "images/, labels/"),
        (("cat", "dog", "Annotations"), "Annotations/"),
        (("seg_train", "seg_test"), "seg_test/, seg_train/"),
        (("train2017", "val2017"), "train2017/, val2017/"),
        (("training_set", "cat"), "training_set/"),
        (("test", "cat"), "has cat/, test/ but no train/"),
        (("Valid", "Dev-1"), "has Dev-1/, Valid/ but no train/"),
        (("train_set", "test"), "but no train/; add it, with one folder per class, or give the f"),
        (("cat",), "has cat/ but no train/; add it"),
    ],
)
def test_other_folders_never_become_classes(
    tmp_path: Path, folders: Sequence[str], named: str
) -> None:
    for name in folders:
        save_classes(tmp_path / name)
    assert named in error_of(tmp_path)


def test_a_folder_of_datasets_is_no_dataset(tmp_path: Path) -> None:
    save_classes(tmp_path / "flowers", ("rose", "tulip"))
    save_classes(tmp_path / "pets", ("cat", "dog"))
    assert "directly in flowers/, pets/ are no images" in error_of(tmp_path)


def test_folders_that_are_no_classes_are_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home folder, for example, is large."""
    save_classes(tmp_path / "home/music/band", ("album",))
    save_classes(tmp_path / "home", ("cat",))
    listed: list[Path] = []
    scandir = os.scandir

    def record(path: str | os.PathLike[str]) -> Any:
        listed.append(Path(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", record)
    assert "directly in music/ are no images" in error_of(tmp_path / "home")
    assert tmp_path / "home/music" in listed and tmp_path / "home/music/band" not in listed


def test_images_without_any_class_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        save_tiny(tmp_path / f"{number}.ppm")
    assert "has 3 images in no class and no train/" in error_of(tmp_path)
    save_tiny(tmp_path / "train/1.ppm")
    assert "contains no classes (1 of its images is in no class)" in error_of(tmp_path)


@pytest.mark.parametrize("name", ["Train", "valid", "testing"])
def test_a_folder_too_deep_names_the_right_one(tmp_path: Path, name: str) -> None:
    for part in {"Train", name}:
        save_classes(tmp_path / "photos" / part)
    for deep in (name, f"{name}/a"):
        message = error_of(tmp_path / "photos" / deep)
        assert message.endswith(f"name the folder above, {tmp_path / 'photos'}")
    assert error_of(tmp_path).endswith(f"that has it, {tmp_path / 'photos'}")


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("images", "masks"), ("JPEGImages", "Annotations")]
)
def test_a_dataset_of_another_task_is_refused(tmp_path: Path, names: Sequence[str]) -> None:
    save_classes(tmp_path / "train", names)
    message = error_of(tmp_path)
    assert message.startswith(f"{tmp_path / 'train'}: contains only ")
    assert all(f"{name}/" in message for name in names)


def test_a_doubled_folder_names_the_inner_one(tmp_path: Path) -> None:
    save_classes(tmp_path / "train/train")
    assert error_of(tmp_path).endswith(f"if that is the dataset, name {tmp_path / 'train'}")


def test_an_unusual_class_among_others_is_named(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", ("bottles", "labels", "train"))
    listing = list_folder(tmp_path)
    assert listing.classes == ("bottles", "labels", "train")
    assert listing.notes == ("labels/, train/ in train/ are used as classes",)
