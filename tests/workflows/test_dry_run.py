"""The preview of a search reads the headers of all image files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import save_image
from helpers.registries import isolate
from PIL import Image

from dgkd_search.cli.main import main
from dgkd_search.config.parse_options import parse_options
from dgkd_search.data.image_folder import ImageFolder
from dgkd_search.data.kinds import DatasetKind, register_dataset
from dgkd_search.workflows.dry_run import preview_lines
from dgkd_search.workflows.validate import validate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of plain images, with a test set."""
    for part, count in (("train", 10), ("test", 2)):
        for name in ("a", "b"):
            for i in range(count):
                pixels = np.full((16, 16, 3), 9 * i)
                save_image(tmp_path / "data" / part / name / f"{i}.png", pixels)
    return tmp_path / "data"


def preview(root: Path, tmp_path: Path, **options: object) -> list[str]:
    values = {"dataset": "imagefolder", "data_dir": str(root), "out": str(tmp_path / "run")}
    return preview_lines(validate(parse_options({**values, **options})))


def notes(root: Path, tmp_path: Path, **options: object) -> list[str]:
    """Return the notes about headers."""
    lines = preview(root, tmp_path, **options)
    return [line for line in lines if re.match(r"note: (\d+ of \d+ images|the headers)", line)]


def test_what_decoding_changes_is_named(root: Path, tmp_path: Path) -> None:
    (plain,) = notes(root, tmp_path)
    assert plain == (
        "note: the headers of 24 images are intact; pixels are decoded when the search starts"
    )
    Image.new("RGBA", (16, 16)).save(root / "train/a/0.png")
    Image.new("RGBA", (16, 16)).save(root / "test/a/0.png")
    clear, _ = notes(root, tmp_path, background="#0a0b0c")
    assert clear == ("note: 2 of 24 images are transparent, and laid on #0a0b0c (--background)")


def test_headers_of_every_dataset_of_image_files_are_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of one that is registered without streaming."""
    isolate(monkeypatch)
    register_dataset(DatasetKind("pets", lambda config: ImageFolder(root, 8)), __name__)
    Image.new("RGBA", (16, 16)).save(root / "train/a/0.png")
    options = {"dataset": "pets", "data_dir": None, "background": "black"}
    clear, _ = notes(root, tmp_path, **options)
    assert clear == "note: 1 of 24 images are transparent, and laid on black (--background)"
    assert not any("has no effect" in line for line in preview(root, tmp_path, **options))


def test_a_background_behind_nothing_is_named(root: Path, tmp_path: Path) -> None:
    (note,) = (
        line
        for line in preview(root, tmp_path, dataset="digits", data_dir=None, background="black")
        if "--background" in line
    )
    assert note == "note: --background has no effect: digits has no image files"


@pytest.mark.parametrize("part", ["train", "test"])
def test_damaged_images_of_every_part_end_a_dry_run(
    root: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / part / "b/1.png").write_bytes(b"damaged")
    words = ["--dataset", "imagefolder", "--data-dir", str(root), "--dry-run"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{root}/{part}/b/1.png: not a readable image" in line


def test_all_damaged_images_are_counted_not_only_those_of_a_sample(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(300):
        save_image(root / "train/a" / f"more{i}.png", np.zeros((1, 1, 3)))
    for i in range(0, 300, 10):
        (root / "train/a" / f"more{i}.png").write_bytes(b"damaged")
    (root / "test/a/0.png").write_bytes(b"damaged")
    words = ["--dataset", "imagefolder", "--data-dir", str(root), "--dry-run"]
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and "and 21 more files that cannot be read" in lines[-1]
