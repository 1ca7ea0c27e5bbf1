"""What users learn of their data before anything is trained."""

import shutil
from pathlib import Path

import pytest
from helpers.folders import folder_config, save_classes, save_tiny

from dgkd_search.config.options import Options
from dgkd_search.data.config import DataConfig
from dgkd_search.data.notes import notes_of
from dgkd_search.workflows.single_chain import plan
from dgkd_search.workflows.validate import validate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten training images in each of two classes."""
    save_classes(tmp_path / "data/train", count=10)
    return tmp_path / "data"


def copy(root: Path, first: str, second: str) -> None:
    (root / second).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / first, root / second)


def test_different_images_give_no_note(root: Path) -> None:
    save_classes(root / "val")
    save_classes(root / "test")
    assert notes_of(folder_config(root)) == []


def test_copies_in_other_parts_are_named(root: Path) -> None:
    save_classes(root / "val", count=3)
    save_classes(root / "test")
    copy(root, "train/a/1.ppm", "val/b/x.ppm")
    copy(root, "train/a/2.ppm", "test/a/y.ppm")
    copy(root, "train/b/3.ppm", "test/b/z.ppm")
    validation, test = notes_of(folder_config(root))
    assert validation == (
        "1 of the 7 validation images is in the training set too (same bytes, for example "
        "train/a/1.ppm and val/b/x.ppm): the validation accuracy will be too high; keep one copy"
    )
    words = "2 of the 10 test images are in the training or validation set too (same bytes, for "
    assert test.startswith(words)
    assert "train/a/2.ppm and test/a/y.ppm" in test


def test_copies_within_a_training_set_that_is_split_are_named(root: Path) -> None:
    """Of two images per class, one is for validation."""
    shutil.rmtree(root / "train")
    save_classes(root / "train", count=1)
    for name in "ab":
        copy(root, f"train/{name}/0.ppm", f"train/{name}/1.ppm")
    (note,) = notes_of(folder_config(root))
    assert note.startswith("2 of the 2 validation images are in the training set too")


def test_the_test_set_is_compared_with_all_training_images(root: Path) -> None:
    """Those that validate are trained on when a chain is retrained."""
    for name in "ab":
        for number in range(10):
            copy(root, f"train/{name}/{number}.ppm", f"test/{name}/{number}.ppm")
    (note,) = notes_of(folder_config(root))
    assert note.startswith("20 of the 20 test images are in the training or validation set too")


def test_the_test_set_is_compared_with_a_validation_set_of_its_own(root: Path) -> None:
    """It chooses the winner, so an equal test set measures nothing new."""
    save_classes(root / "val", count=3)
    (root / "test").symlink_to("val")
    (note,) = notes_of(folder_config(root))
    assert note.startswith("6 of the 6 test images are in the training or validation set too")
    assert "for example val/a/0.ppm and test/a/0.ppm" in note


def test_images_that_are_not_used_do_not_count(root: Path) -> None:
    save_classes(root / "val", count=5)
    for number in range(10):
        copy(root, f"train/a/{number}.ppm", f"val/a/copy{number}.ppm")
    (note,) = notes_of(folder_config(root))
    (fewer,) = notes_of(folder_config(root, train_limit=8))
    assert note.startswith("10 of the 20 ") and " of the 4 validation images" in fewer


def test_every_note_is_one_line(root: Path) -> None:
    save_tiny(root / "train/1\n2.ppm")
    copy(root, "train/a/1.ppm", "test/a/3\n4.ppm")
    save_tiny(root / "test/b/1.ppm")
    notes = notes_of(folder_config(root))
    assert len(notes) == 2 and not any("\n" in note for note in notes)


def test_datasets_without_files_have_no_notes() -> None:
    assert notes_of(DataConfig("digits")) == []


def test_a_search_and_a_plan_say_what_is_left_out(root: Path, tmp_path: Path) -> None:
    save_tiny(root / "train/a/1.heic")
    store = str(tmp_path / "store")
    options = Options(dataset="imagefolder", data_dir=str(root), store=store)
    assert "left out: 1 .heic (no decoder)" in validate(options).resolved.warnings
    lines: list[str] = []
    plan(["resnet8"], dataset="imagefolder", data_dir=str(root), store=store, log=lines.append)
    assert lines == ["note: left out: 1 .heic (no decoder)"]
