"""Only image files are opened, and Pillow prints nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import write_png
from PIL import Image

from dgkd_search.data import decoding
from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.headers import scan_headers
from dgkd_search.data.image_file import quiet
from dgkd_search.errors import InputError


def message_of(path: Path) -> str:
    """Return the only message, by header or by pixels; both must refuse the file in one line."""
    with pytest.raises(InputError) as caught:
        decode_images([path], 3, 8, Decoding())
    with pytest.raises(InputError):
        scan_headers([path]).raise_damaged()
    (message,) = caught.value.messages
    assert "\n" not in message and str(path) in message
    return message


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "folder.png", "device.png"):
        assert "not a regular file" in message_of(tmp_path / name)
    (tmp_path / "dangling.png").symlink_to("nowhere")
    assert "No such file" in message_of(tmp_path / "dangling.png")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # would start Ghostscript
        b"/* XPM */\n",
        b"GIF89a",
    ],
)
def test_files_of_other_content_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    message = message_of(path)
    assert "not a readable image" in message and message.count(str(path)) == 1


def test_floating_point_pixels_are_named_by_their_header(tmp_path: Path) -> None:
    Image.new("F", (8, 8)).save(tmp_path / "a.tif")
    assert "no known range, save 8 or 16 bits" in message_of(tmp_path / "a.tif")


def test_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "a.png", "JPEG")
    assert (decode_images([tmp_path / "a.png"], 3, 8, Decoding()) == 9).all()


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.mpo"])
def test_the_first_of_several_frames_is_used(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), (value,) * 3) for value in (40, 200)]
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert (decode_images([tmp_path / name], 3, 8, Decoding()) == 40).all()
    assert scan_headers([tmp_path / name]).several == 1


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 1)])
def test_bombs_are_refused_by_their_header(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    path = write_png(tmp_path / "a.png", 8, 2, [b""], width)
    content = bytearray(path.read_bytes())
    content[20:24] = height.to_bytes(4, "big")
    path.write_bytes(content)
    message_of(path)


def test_a_row_that_no_decoder_can_hold_is_named(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", 8, 2, [b""], 178_000_000)
    with pytest.raises(InputError, match=r"its 178,000,000 x 1 pixels need too much memory"):
        decode_images([path], 3, 8, Decoding())


def test_other_shortages_of_memory_are_no_fault_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "to_mode", fail)
    with pytest.raises(MemoryError):
        decode_images([tmp_path / "a.png"], 3, 8, Decoding())


def test_long_strips_take_little_memory(tmp_path: Path) -> None:
    strip = np.zeros((4, 300_000), np.uint8)
    strip[:, 149_998:150_002] = 200
    Image.fromarray(strip).save(tmp_path / "a.png")
    # Resized as usual, it would have 100 x 7,500,000 pixels.
    assert (decode_images([tmp_path / "a.png"], 1, 100, Decoding()) == 200).all()


# A large image (a warning that is no UserWarning), odd EXIF, an odd TIFF (a warning of a logger)
# and a damaged one (an error of libtiff), in threads.
NOISE = """
import sys, warnings
from pathlib import Path
from PIL import Image
from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.headers import scan_headers
warnings.simplefilter("always")
Image.MAX_IMAGE_PIXELS = 3000
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_images([path] * 130, 3, 8, Decoding(), threads=2)
    except Exception as error:
        assert len(error.messages) == 11, error
    scan_headers([path])
print("done")
"""


def test_warnings_never_reach_the_terminal(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "large.png")
    image.save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    content = (tmp_path / "a.tif").read_bytes()
    at = content.index((277).to_bytes(2, "little") + b"\3\0\1\0\0\0") + 8  # samples per pixel
    (tmp_path / "samples.tif").write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    (tmp_path / "damaged.tif").write_bytes(content[:100] + b"\xff" * 99 + content[199:])
    result = subprocess.run(
        [sys.executable, "-c", NOISE, tmp_path], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("done\n", "")


def test_filters_are_restored_after_the_last_reader() -> None:
    before = list(warnings.filters)
    first_left, entered = threading.Event(), threading.Event()

    def read() -> None:
        with quiet():
            entered.set()
            first_left.wait(10)
            assert warnings.filters != before

    with warnings.catch_warnings():
        before = list(warnings.filters)
        with quiet():
            thread = threading.Thread(target=read)
            thread.start()
            entered.wait(10)
        assert warnings.filters != before  # the other one still reads
        first_left.set()
        thread.join()
        assert list(warnings.filters) == before
