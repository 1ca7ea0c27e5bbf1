"""What is used of an image folder, and what is named."""

import os
import unicodedata
from pathlib import Path

import pytest
from helpers.folders import folder_config, save_classes, save_tiny

from dgkd_search.data.folder_listing import list_folder
from dgkd_search.data.formats import readable_suffixes
from dgkd_search.data.image_folder import ImageFolder
from dgkd_search.data.open import open_dataset_files
from dgkd_search.errors import InputError

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of four images."""
    save_classes(tmp_path / "data/train")
    return tmp_path / "data"


def messages_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        list_folder(root)
    return caught.value.messages


def test_every_readable_suffix_is_listed_in_any_case(root: Path) -> None:
    suffixes = sorted(readable_suffixes())
    assert {".jfif", ".jpe", ".tif", ".pgm"} <= {*suffixes}
    for suffix in suffixes:
        save_tiny(root / f"train/a/x{suffix}")
        save_tiny(root / f"train/b/x{suffix.upper()}")
    listing = list_folder(root)
    assert [len(paths) for paths in listing.images["train"]] == [4 + len(suffixes)] * 2
    assert listing.notes == ()


def test_what_nothing_reads_is_counted(root: Path) -> None:
    for number in range(3):
        save_tiny(root / f"train/a/{number}.HEIC")
        save_tiny(root / f"train/b/{number}.heic")
    save_tiny(root / "train/a/deep/notes.txt")
    save_tiny(root / "train/list.txt")
    save_tiny(root / "readme")
    assert list_folder(root).notes == (
        "left out: 6 .heic (no decoder), 2 .txt, 1 file without a suffix (readme)",
    )


def test_what_systems_add_is_left_out(root: Path) -> None:
    save_tiny(root / "__MACOSX/train/a/._0.ppm")
    save_tiny(root / "train/__MACOSX/a/._0.ppm")
    save_tiny(root / "train/a/@eaDir/0.ppm")
    save_tiny(root / "train/a/._0.ppm")
    save_tiny(root / "train/.DS_Store")
    save_tiny(root / "train/a/Thumbs.db")
    listing = list_folder(root)
    assert listing.classes == ("a", "b") and len(listing.images["train"][0]) == 4
    (note,) = listing.notes
    assert "1 .db" in note and "3 folders of an operating system (__MACOSX)" in note
    assert "2 hidden files or folders" in note


def test_images_beside_classes_are_named_in_every_part(root: Path) -> None:
    for part in ("train", "valid", "Test"):
        save_classes(root / part)
        save_tiny(root / part / "stray.ppm")
    notes = "\n".join(list_folder(root).notes)
    for part in ("train", "valid", "Test"):
        assert f"1 image is directly in {part}/, outside any class" in notes


def test_a_part_without_classes_is_refused(root: Path) -> None:
    (root / "valid").mkdir()
    save_tiny(root / "test/1.ppm")
    save_tiny(root / "test/2.ppm")
    validation, test = messages_of(root)
    assert validation.startswith(f"{root / 'valid'}: contains no images; ")
    assert test.startswith(f"{root / 'test'}: 2 of its images are in no class")


def test_an_empty_class_names_what_it_has_instead(root: Path) -> None:
    save_tiny(root / "train/c/1.heic")
    save_tiny(root / "train/c/2.txt")
    (message,) = messages_of(root)
    assert message.startswith(
        f"{root / 'train/c'}: contains no images but 1 .heic (no decoder), 1 .txt; add files"
    )


def test_an_empty_class_of_the_test_set_is_named(root: Path) -> None:
    save_tiny(root / "test/a/1.ppm")
    (root / "test/b").mkdir()
    dataset = ImageFolder(root, 2)
    assert dataset.has_test and dataset.test().labels.tolist() == [0]
    assert dataset.notes()[0].startswith(f"{root / 'test/b'}: contains no images")
    (root / "test/a/1.ppm").unlink()
    (message,) = messages_of(root)
    assert message.startswith(f"{root / 'test'}: contains no images")


def test_many_problems_are_limited(root: Path) -> None:
    for number in range(30):
        (root / f"train/empty{number}").mkdir()
    messages = messages_of(root)
    assert len(messages) == 21 and messages[-1] == "and 10 more problems"


def test_two_unicode_forms_are_one_class(root: Path) -> None:
    save_tiny(root / "train" / NFC / "1.ppm")
    save_tiny(root / "train" / NFD / "2.ppm")
    for name in ("a", "b", NFD):
        save_tiny(root / "val" / name / "1.ppm")
    dataset = ImageFolder(root, 2)
    labels, validation = dataset.labels()
    assert dataset.classes == ("a", "b", NFC)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert validation is not None and validation.tolist() == [0, 1, 2]
    assert dataset.notes() == (
        f"class {NFC}: 2 folders in train/ have this name in different Unicode forms (NFC, NFD); "
        "they are one class",
    )


def test_a_class_in_one_form_is_matched_and_shown_in_nfc(root: Path) -> None:
    for part, name in (("train", NFD), ("test", NFC)):
        save_classes(root / part, ("a", "b", name))
    listing = list_folder(root)
    assert listing.classes == ("a", "b", NFC) and listing.notes == ()
    assert [len(paths) for paths in listing.images["test"]] == [4, 4, 4]


def test_the_identity_follows_the_classes_of_the_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the first rules, these files had the same paths but three classes and other labels."""
    save_tiny(root / "train" / NFC / "1.ppm")
    save_tiny(root / "train" / NFD / "1.ppm")
    dataset = ImageFolder(root, 2)
    merged = dataset.identity()
    monkeypatch.setattr(unicodedata, "normalize", lambda form, text: text)
    apart = ImageFolder(root, 2)
    assert len(apart.classes) == 4 and apart.identity() != merged


def test_a_class_may_have_any_bytes(root: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    save_classes(root / "train", (name,))
    save_classes(root / "val", ("a", "b", name))
    dataset = open_dataset_files(folder_config(root))
    assert dataset.classes == ("a", "b", name)
    assert dataset.read("train", [11]).shape == (1, 3, 16, 16)
    assert len(dataset.identity()) == 32
