"""The listing of version 0.1, by identities that its code returned."""

import os
from pathlib import Path

import pytest

from dgkd_search.data.first_listing import first_identity
from dgkd_search.data.image_folder import ImageFolder

TRAIN = ("b/1.ppm", "b/deep/2.PPM", "a/3.ppm", "a/.hidden.ppm", "é/4.ppm", "é/note.txt")
OTHERS = ("val/a/1", "val/b/1", "val/é/2", "test/a/1", "test/b/1", "test/é/1")


def write(path: Path, pixel: int) -> None:
    """Write a file whose size and time, which join the identity, are the same everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6\n2 2\n255\n" + bytes([pixel]) * 12)
    os.utime(path, ns=(10**18, 10**18 + pixel))


def photos(root: Path, *, others: bool) -> Path:
    names = [f"train/{name}" for name in TRAIN]
    names += [f"{name}.ppm" for name in OTHERS] if others else []
    for pixel, name in enumerate(names):
        write(root / name, pixel)
    return root


@pytest.mark.parametrize(
    ("others", "identity"),
    [(False, "e48d983c0464be41a6ba1fd9d0d263ff"), (True, "aaba15b8b3bd0bfa49fba952b2cc2b5a")],
)
def test_plain_folders_keep_their_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool, identity: str
) -> None:
    root = photos(tmp_path, others=others)
    monkeypatch.setattr(Path, "resolve", lambda path, strict=False: Path("/photos"))
    assert first_identity(root) == identity
    assert ImageFolder(root, 2).identity() == identity


def test_the_first_listing_knows_none_of_the_later_rules(tmp_path: Path) -> None:
    root = photos(tmp_path, others=False)
    before = first_identity(root)
    write(root / "valid/a/1.ppm", 1)
    write(root / "train/a/1.jfif", 1)
    assert first_identity(root) == before
    (root / "train/a/again.ppm").symlink_to("3.ppm")
    assert first_identity(root) != before


def test_a_folder_that_the_first_version_refused_has_none(tmp_path: Path) -> None:
    assert first_identity(tmp_path) is None
    write(tmp_path / "Train/a/1.ppm", 1)
    assert first_identity(tmp_path) is None
    root = photos(tmp_path / "damaged", others=False)
    (root / "train/a/3.ppm").write_text("damaged")
    assert first_identity(root) is None
    (root / "train/a/3.ppm").unlink()
    os.mkfifo(root / "train/a/3.ppm")  # opening it would wait for ever
    assert first_identity(root) is None
