from pathlib import Path

import numpy as np
import pytest
from helpers.folders import messages_of, save_image
from PIL import Image

from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.errors import InputError


def test_two_level_images_keep_their_brightness(tmp_path: Path) -> None:
    levels = np.tile(np.array([0, 255, 255, 0], np.uint8), (4, 1))
    Image.fromarray(levels).convert("1").save(tmp_path / "two.png")
    assert np.array_equal(decode_images([tmp_path / "two.png"], 1, 4, Decoding())[0, 0], levels)


def test_the_short_side_is_resized_and_the_centre_cut_out(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3))
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = 10, 200, 90
    save_image(tmp_path / "wide.png", wide)
    save_image(tmp_path / "tall.png", wide.transpose(1, 0, 2))
    save_image(tmp_path / "odd.png", np.full((9, 31, 3), 60))
    images = decode_images(
        [tmp_path / n for n in ("wide.png", "tall.png", "odd.png")], 3, 10, Decoding()
    )
    assert (images[0][:, :, 2:-2] == 200).all() and (images[1][:, 2:-2] == 200).all()
    assert (images[2] == 60).all()


def test_large_files_decoded_by_threads_stay_in_order(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 200, (128, 128, 3), np.uint8)
    paths = [tmp_path / f"{i}.bmp" for i in range(130)]
    for i, path in enumerate(paths):
        noise[0, 0] = i
        save_image(path, noise)
    assert paths[0].stat().st_size > 16 * 1024
    assert decode_images(paths, 3, 128, Decoding())[:, 0, 0, 0].tolist() == list(range(130))


def test_damaged_images_are_all_named(root: Path) -> None:
    whole = (root / "train/a/1.png").read_bytes()
    (root / "train/a/1.png").write_bytes(whole[: len(whole) // 2])
    (root / "train/a/2.png").write_bytes(b"")
    (root / "train/b/3.png").write_bytes(b"not an image at all")
    messages = messages_of(root)
    # Headers are checked first, and the truncated file has a valid header.
    assert len(messages) == 2
    assert all("not a readable image" in message for message in messages)
    assert "a/2.png" in messages[0] and "b/3.png" in messages[1]
    (root / "train/a/2.png").unlink()
    (root / "train/b/3.png").unlink()
    (message,) = messages_of(root)
    assert "a/1.png" in message


def test_many_damaged_images_are_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(15)]
    for path in paths:
        path.write_bytes(b"no")
    with pytest.raises(InputError) as caught:
        decode_images(paths, 3, 8, Decoding())
    assert len(caught.value.messages) == 11
    assert caught.value.messages[-1] == "and 5 more files that cannot be read"


def test_bombs_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 16 // 3)
    (message, *_) = messages_of(root)
    assert "not a readable image" in message and "decompression bomb" in message
