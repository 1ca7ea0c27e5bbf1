"""Headers of all images: counts, damaged files, the range of deep images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import write_png16
from PIL import Image

from dgkd_search.data.headers import all_gray, scan_headers, value_range
from dgkd_search.errors import InputError

WHITE, GREEN = (255, 255, 255), (0, 200, 0)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two plain images, and one of each kind that decoding changes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.bmp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    Image.new("L", (8, 8)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("L", (8, 8)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    write_png16(tmp_path / "color.png", np.zeros((8, 8, 3)))
    write_png16(tmp_path / "short.png", np.zeros((8, 8, 2)))
    frames = [Image.new("L", (8, 8), value) for value in (0, 9)]
    frames[0].save(tmp_path / "frames.gif", save_all=True, append_images=frames[1:])
    return sorted(tmp_path.iterdir())


def test_every_kind_is_counted(images: list[Path]) -> None:
    headers = scan_headers(images * 60)  # several tasks
    assert headers.images == 60 * 9 and not headers.damaged
    assert headers.transparent == 60 * 2  # 16-bit gray with alpha is read as RGBA
    assert (headers.turned, headers.deep) == (60 * 2, 60 * 2)
    assert (headers.shortened, headers.several) == (60, 60)
    assert headers.changed == ["120 transparent", "120 turned by EXIF", "120 of more than 8 bits"]


def test_each_kind_has_a_note_and_plain_images_have_one(images: list[Path]) -> None:
    notes = scan_headers(images).notes(3, WHITE, "white")
    assert len(notes) == 6
    assert "2 of 9 images are transparent, and laid on white (--background)" in notes
    (last,) = scan_headers(images[:2]).notes(3, WHITE, "white")
    assert last.startswith("the headers of 2 images are intact; pixels are decoded when")


def test_gray_datasets_name_the_colors_and_the_background(images: list[Path]) -> None:
    notes = "\n".join(scan_headers(images).notes(1, GREEN, "#00c800"))
    assert "laid on gray level 117, which --background #00c800 is in gray" in notes
    assert "are colored but become gray" in notes


def test_damaged_headers_are_named_and_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(600)]
    for path in paths:
        path.write_bytes(b"no")
    with pytest.raises(InputError) as caught:
        scan_headers(paths).raise_damaged()
    assert len(caught.value.messages) == 11
    assert str(paths[0]) in caught.value.messages[0]
    assert caught.value.messages[-1] == "and 590 more files that cannot be read"


def test_gray_is_read_from_headers(images: list[Path]) -> None:
    gray = [path for path in images if path.name in ("turned.jpg", "deep.png")]
    assert all_gray(gray) and not all_gray(images)


def test_the_range_holds_all_deep_images(tmp_path: Path) -> None:
    paths = []
    for name, value in (("a", 900), ("b", 70), ("c", 3000)):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(paths[-1])
    Image.new("L", (8, 8), 255).save(tmp_path / "d.png")
    assert value_range(paths[:1]) == (0, 1023)
    assert value_range([*paths, tmp_path / "d.png"]) == (0, 4095)
    assert value_range([tmp_path / "d.png"]) is None
    (tmp_path / "b.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"b\.png: not a readable image"):
        value_range(paths)
