"""Links in image folders: each file counts once in its class, and none is lost."""

import os
from pathlib import Path

import pytest
from helpers.folders import save_classes, save_tiny

from dgkd_search.data.folder_listing import FolderListing, list_folder
from dgkd_search.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of four images."""
    save_classes(tmp_path / "data/train")
    return tmp_path / "data"


def counts(listing: FolderListing, part: str = "train") -> list[int]:
    return [len(paths) for paths in listing.images[part]]


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../b", "../../val", "/"])
def test_links_back_are_named_and_not_followed(root: Path, target: str) -> None:
    save_classes(root / "val")
    link(root / "train/a/back", target)
    listing = list_folder(root)
    assert counts(listing) == [4, 4] and counts(listing, "val") == [4, 4]
    (note,) = listing.notes
    assert note == "left out: 1 link back to a listed folder or above it (train/a/back)"


def test_links_below_links_end(root: Path, tmp_path: Path) -> None:
    save_classes(tmp_path / "pool", ("x",))
    link(tmp_path / "pool/x/up", "..")
    link(tmp_path / "pool/y/to-x", "../x")
    link(root / "train/a/pool", tmp_path / "pool")
    assert counts(list_folder(root)) == [8, 4]


def test_subsets_of_links_are_followed(tmp_path: Path) -> None:
    full = save_classes(tmp_path / "full", "abc")
    for name in "ab":  # folders that are links, folders with links to folders, links to files
        link(tmp_path / "first/train" / name, full / name)
        link(tmp_path / "second/train" / name / "part", full / name)
        for number in range(3):
            link(tmp_path / f"third/train/{name}/{number}.ppm", full / name / f"{number}.ppm")
    link(tmp_path / "fourth/train", tmp_path / "third/train")
    subsets = [list_folder(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    assert [counts(listing) for listing in subsets] == [[4, 4], [4, 4], [3, 3], [3, 3]]
    assert [listing.notes for listing in subsets] == [()] * 4
    link(full / "a/up", "..")  # above the class, beside which another class lies
    listing = list_folder(tmp_path / "first")
    assert counts(listing) == [4, 4] and "(train/a/up)" in listing.notes[0]


def test_a_file_counts_once_in_its_class(root: Path) -> None:
    link(root / "train/a/00.ppm", "3.ppm")  # its name comes first, but the file is preferred
    link(root / "train/a/deep/again.ppm", "../3.ppm")
    os.link(root / "train/b/1.ppm", root / "train/b/9.ppm")
    listing = list_folder(root)
    assert counts(listing) == [4, 4]
    assert root / "train/a/3.ppm" in listing.images["train"][0]
    assert listing.notes[0].startswith("left out: 3 further links to listed images (train/a/00.ppm")


@pytest.mark.parametrize("hard", [False, True])
def test_a_file_in_two_classes_is_named(root: Path, hard: bool) -> None:
    if hard:
        os.link(root / "train/a/1.ppm", root / "train/b/x.ppm")
    else:
        link(root / "train/b/x.ppm", "../a/1.ppm")
    listing = list_folder(root)
    assert counts(listing) == [4, 5]
    (note,) = listing.notes
    assert note.startswith("1 image is in more than one class of train/")
    assert "a/1.ppm and b/x.ppm are the same file" in note


def test_a_folder_shared_by_two_classes_is_named(root: Path, tmp_path: Path) -> None:
    save_classes(tmp_path / "pool", ("x",))
    for name in "ab":
        link(root / "train" / name / "x", tmp_path / "pool/x")
    listing = list_folder(root)
    assert counts(listing) == [8, 8]
    assert listing.notes[0].startswith("4 images are in more than one class of train/")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a", "is the same folder as class 'a'"),
        (".", "leads to a folder that contains it"),
        ("../..", "leads to a folder that contains it"),
        ("nowhere", "is a link that cannot be followed (No such file or directory)"),
        ("c", "is a link that cannot be followed (Too many levels of symbolic links)"),
    ],
)
def test_a_class_that_is_a_wrong_link_is_refused(root: Path, target: str, message: str) -> None:
    link(root / "train/c", target)
    with pytest.raises(InputError) as caught:
        list_folder(root)
    assert caught.value.messages[0].startswith(f"{root / 'train/c'}: {message}")


def test_all_links_to_nothing_are_named(root: Path) -> None:
    for part, name in (("train", "a/1.png"), ("train", "b/folder"), ("val", "b/2.png")):
        save_classes(root / "val")
        link(root / part / name, "nowhere")
    with pytest.raises(InputError) as caught:
        list_folder(root)
    named = [message.split(":")[0] for message in caught.value.messages]
    assert named == [str(root / n) for n in ("train/a/1.png", "train/b/folder", "val/b/2.png")]


def test_images_are_in_the_order_of_their_paths(root: Path) -> None:
    for name in ("a-b/1.ppm", "a.b/1.ppm", "a/2/1.ppm", "a/10.ppm"):
        save_tiny(root / "train/a" / name)
    (paths, _) = list_folder(root).images["train"]
    assert paths == sorted(paths) and len(paths) == 8


def test_only_regular_files_are_images(root: Path) -> None:
    os.mkfifo(root / "train/a/pipe.png")
    link(root / "train/a/null.png", "/dev/null")
    listing = list_folder(root)
    assert counts(listing) == [4, 4]
    assert listing.notes == ("left out: 2 FIFOs, sockets or devices (train/a/null.png)",)
