"""What users' images hold is kept: transparency, bit depth, orientation, colors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import write_png, write_png16, write_tiff16
from numpy.typing import NDArray
from PIL import Image

from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import FIRST_RULES, FULL_16_BITS, Decoding
from dgkd_search.data.headers import value_range
from dgkd_search.data.pixels import UnmeasuredRange, is_deep, is_shortened, to_mode
from dgkd_search.data.types import Images
from dgkd_search.errors import InputError

GREEN = (0, 200, 0)


def decode(path: Path, channels: int = 3, decoding: Decoding | None = None) -> Images:
    """Decode an image without resizing: [H, W, 3], or [H, W] for gray."""
    with Image.open(path) as image:
        size = image.width
    decoding = decoding or Decoding(values=value_range([path]))
    pixels = decode_images([path], channels, size, decoding)[0]
    turned: Images = pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)
    return turned


def half_clear() -> Image.Image:
    """Red; the left half is transparent."""
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 255))
    image.paste((200, 0, 0, 0), (0, 0, 2, 4))
    return image


def transparent_files(folder: Path) -> dict[str, Path]:
    """Write the same image, left half transparent, with every kind of transparency."""
    rgba, files = half_clear(), {}

    def save(name: str, image: Image.Image, **options: object) -> None:
        files[name] = folder / name
        image.save(files[name], **options)  # type: ignore[arg-type]

    save("rgba.png", rgba)
    save("rgba.tif", rgba)
    save("rgba.webp", rgba, lossless=True, exact=True)
    save("palette.png", rgba.quantize(4))  # transparency in bytes
    indexed = Image.new("P", (4, 4), 1)
    indexed.putpalette([9, 9, 9, 200, 0, 0])
    indexed.paste(0, (0, 0, 2, 4))
    save("index.png", indexed, transparency=0)
    save("index.gif", indexed, transparency=0)
    save("pa.tif", rgba.quantize(4).convert("RGBA").convert("PA"))
    color = Image.new("RGB", (4, 4), (200, 0, 0))
    color.paste((1, 2, 3), (0, 0, 2, 4))
    save("color.png", color, transparency=(1, 2, 3))
    return files


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), GREEN])
def test_every_kind_of_transparency_is_laid_on_the_background(
    tmp_path: Path, background: tuple[int, int, int]
) -> None:
    for name, path in transparent_files(tmp_path).items():
        pixels = decode(path, decoding=Decoding(background=background))
        assert (pixels[:, :2] == background).all(), name
        assert (pixels[:, 2:] == (200, 0, 0)).all(), name


def test_opaque_pixels_of_transparent_modes_are_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), pixels[..., :3])
    gray = np.dstack([pixels[..., 0], pixels[..., 3]])
    Image.fromarray(gray).save(tmp_path / "b.png")
    assert np.array_equal(decode(tmp_path / "b.png", 1), pixels[..., 0])


def test_partly_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 0, 100, 51)).save(tmp_path / "a.png")  # a fifth
    assert decode(tmp_path / "a.png")[0, 0].tolist() == [244, 204, 224]
    Image.new("LA", (2, 2), (100, 51)).save(tmp_path / "b.png")
    assert decode(tmp_path / "b.png", 1)[0, 0] == 224


@pytest.mark.parametrize("premultiplied", ["RGBa", "La"])
def test_premultiplied_images_are_opaque(tmp_path: Path, premultiplied: str) -> None:
    straight = "RGBA" if premultiplied == "RGBa" else "LA"
    image = half_clear().convert(straight).convert(premultiplied)
    pixels = np.asarray(to_mode(tmp_path, image, "RGB", Decoding()))
    assert (pixels[:, :2] == 255).all() and (pixels[:, 2:, 1:] < 100).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_gray_of_any_depth_is_found(tmp_path: Path, bits: int) -> None:
    steps = 2**bits - 1
    values = [0, 1, steps, steps - 1] if bits > 1 else [0, 1, 0, 1]
    packed = 0
    for value in values:
        packed = packed << bits | value
    row = (packed << (-4 * bits) % 8).to_bytes(-(-4 * bits // 8), "big")
    path = write_png(tmp_path / "a.png", bits, 0, [row] * 4, 4, struct.pack(">H", 1))
    expected = [255 if value == 1 else value * 255 // steps for value in values]
    assert decode(path, 1, Decoding(background=(255, 255, 255)))[0].tolist() == expected
    black = decode(path, 1, Decoding(background=(0, 0, 0)))[0].tolist()
    assert black == [0 if value == 1 else value * 255 // steps for value in values]


def test_transparent_values_of_16_bits_are_found(tmp_path: Path) -> None:
    gray = write_png16(
        tmp_path / "a.png", np.tile([0, 1000, 4095], (3, 1)), struct.pack(">H", 1000)
    )
    assert decode(gray, 1)[0].tolist() == [0, 255, 255]
    assert decode(gray, 1, Decoding(2, (0, 0, 0), (0, 4095)))[0].tolist() == [0, 0, 255]
    colors = np.tile([[1000, 2000, 3000], [1000, 2000, 3001]], (2, 1, 1))
    color = write_png16(tmp_path / "b.png", colors, struct.pack(">3H", 1000, 2000, 3000))
    assert decode(color)[0].tolist() == [[255, 255, 255], [62, 125, 187]]


def test_a_colored_background_is_gray_behind_gray_images(tmp_path: Path) -> None:
    Image.new("LA", (2, 2), (7, 0)).save(tmp_path / "a.png")
    level = Image.new("RGB", (1, 1), GREEN).convert("L").getpixel((0, 0))
    assert (decode(tmp_path / "a.png", 1, Decoding(background=GREEN)) == level).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm"])
def test_gray_of_any_depth_uses_the_full_range(tmp_path: Path, bits: int, suffix: str) -> None:
    values = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 8 8 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert value_range([path]) == (0, 2**bits - 1)
    assert np.array_equal(decode(path, 1), values >> (bits - 8))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colors_are_read_completely(
    tmp_path: Path, order: str, compressed: bool, channels: int
) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (4, 4, channels)).astype(np.uint16)
    values[..., 3:] = 65535  # opaque
    values[0, 0, 0] = 4095
    files = [
        write_tiff16(tmp_path / "a.tif", values, order, compressed=compressed),
        write_png16(tmp_path / "a.png", values),
    ]
    for path in files:
        with Image.open(path) as image:
            assert is_deep(image) and not is_shortened(image)
        assert value_range([path]) == (0, 4095)
        assert np.array_equal(decode(path), values[..., :3] >> 4)


def test_the_full_range_of_16_bits_decodes_as_ever(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    gray = generator.integers(0, 2**16, (8, 8)).astype(np.uint16)
    gray[0, 0] = 65535
    Image.fromarray(gray).save(tmp_path / "gray.png")
    color = write_png16(tmp_path / "color.png", generator.integers(0, 2**16, (8, 8, 3)))
    before, now = Decoding(FIRST_RULES), Decoding(values=FULL_16_BITS)
    for path, channels in ((tmp_path / "gray.png", 1), (color, 3)):
        assert np.array_equal(decode(path, channels, before), decode(path, channels, now))


def save_signed(path: Path, values: NDArray[np.int32]) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_negative_and_large_values_have_a_range(tmp_path: Path) -> None:
    # As computed tomography stores them, in Hounsfield units.
    tissue = save_signed(tmp_path / "a.tif", np.array([[-1024, 0], [1024, 3071]], np.int32))
    assert value_range([tissue]) == (-1024, 3071)
    assert decode(tissue, 1).tolist() == [[0, 64], [128, 255]]
    large = save_signed(tmp_path / "b.tif", np.array([[0, 2**20], [2**24, 2**25]], np.int32))
    assert value_range([large]) == (0, 2**26 - 1)
    assert decode(large, 1).tolist() == [[0, 4], [64, 128]]
    assert value_range([tissue, large]) == (-1024, 2**26 - 1 - 1024)


def test_unsigned_32_bit_values_are_not_negative(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    save_signed(path, np.array([[0, 2**30], [-(2**31), -1]], np.int32))
    # The same bits as unsigned values: set the tag SampleFormat (339) from 2 to 1.
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 339, 3, 1)) + 8
    path.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    assert value_range([path]) == (0, 2**32 - 1)
    assert decode(path, 1).tolist() == [[0, 64], [128, 255]]


def test_white_is_zero_in_16_bit_negatives(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, 4095], [2048, 16]], np.uint16)).save(path)
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    path.write_bytes(content[:at] + b"\0" + content[at + 1 :])
    assert decode(path, 1).tolist() == [[255, 0], [127, 254]]


def test_values_outside_the_range_of_the_training_images_are_clipped(tmp_path: Path) -> None:
    path = save_signed(tmp_path / "a.tif", np.array([[-5, 5000], [4095, 16]], np.int32))
    assert decode(path, 1, Decoding(values=(0, 4095))).tolist() == [[0, 255], [255, 1]]


def test_an_unknown_range_is_asked_for(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UnmeasuredRange):
        decode_images([tmp_path / "a.png"], 1, 8, Decoding())


def test_floating_point_pixels_are_refused_with_a_way_out(tmp_path: Path) -> None:
    Image.new("F", (8, 8), 0.5).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="no known range, save 8 or 16 bits"):
        decode_images([tmp_path / "a.tif"], 1, 8, Decoding())


def test_layouts_that_lose_bits_are_known(tmp_path: Path) -> None:
    with Image.open(write_png16(tmp_path / "a.png", np.full((2, 2, 2), 999))) as image:
        assert is_shortened(image) and not is_deep(image)
    with Image.open(transparent_files(tmp_path)["rgba.png"]) as image:
        assert not is_shortened(image)


RED, MODES = (254, 0, 0), ("1", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_colors_become_rgb(tmp_path: Path, mode: str) -> None:
    expected = (0, 0, 0) if mode == "1" else RED
    image = Image.new("RGB", (4, 4), expected).convert(mode)
    pixels = np.asarray(to_mode(tmp_path, image, "RGB", Decoding()))
    assert abs(pixels.astype(int) - expected).max() <= 2


def test_lab_is_converted_by_its_definition(tmp_path: Path) -> None:
    # L* 54.3, a* 80.8, b* 69.9 is the red of sRGB.
    Image.new("LAB", (4, 4), (138, 209, 198)).save(tmp_path / "a.tif")
    assert abs(decode(tmp_path / "a.tif")[0, 0].astype(int) - (255, 0, 0)).max() <= 6


# By orientation, the corner of the stored image that is the upper left one to the eye.
CORNERS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("value", CORNERS)
def test_images_are_turned_upright(tmp_path: Path, value: int, suffix: str) -> None:
    stored = np.zeros((16, 24, 3), np.uint8)
    row, column = CORNERS[value]
    stored[8 * row : 8 * row + 8, 16 * column : 16 * column + 8] = 250
    exif = Image.Exif()
    exif[0x0112] = value
    path = tmp_path / f"a.{suffix}"
    quality: dict[str, Any] = {
        "jpg": {"subsampling": "4:4:4"},
        "avif": {"subsampling": "4:4:4"},
        "webp": {"lossless": True},
    }
    Image.fromarray(stored).save(path, exif=exif, **quality.get(suffix, {}))
    with Image.open(path) as image:
        upright = np.asarray(to_mode(path, image, "RGB", Decoding()))
    assert upright.shape == ((24, 16, 3) if value >= 5 else (16, 24, 3))
    assert (upright[:8, :8] > 200).all() and (upright[8:] < 60).all()
    assert (upright[:8, 8:] < 60).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("value", [5, 6, 7, 8])
def test_uncompressed_tiffs_of_every_mode_are_turned_whole(
    tmp_path: Path, value: int, mode: str
) -> None:
    """Pillow reads some modes from memory that it maps, with width and height exchanged."""
    row, column = CORNERS[value]
    stored = np.zeros((16, 24), np.uint8)
    stored[8 * row : 8 * row + 8, 16 * column : 16 * column + 8] = 255
    exif = Image.Exif()
    exif[0x0112] = value
    image = Image.fromarray(stored)
    if mode == "I;16":
        image = Image.fromarray(stored.astype(np.uint16) * 257)
    else:
        image = image.convert("RGB").convert(mode) if mode != "I" else image.convert("I")
    image.save(tmp_path / "a.tif", exif=exif)
    decoding = Decoding(values=(0, 255) if mode == "I" else FULL_16_BITS)
    sizes: list[tuple[int, int]] = []

    def complete(width: int, height: int) -> tuple[tuple[float, float, float, float], bool]:
        sizes.append((width, height))
        return (0, 0, width, width), False

    (upright,) = decode_images([tmp_path / "a.tif"], 1, 16, decoding, crops=[complete])[0]
    assert sizes == [(16, 24)]
    expected = np.zeros((16, 16))
    expected[:8, :8] = 255
    assert np.abs(upright - expected).max() <= 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", (8, 4), RED).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert to_mode(tmp_path / "a.png", image, "RGB", Decoding()).size == (8, 4)


def test_damaged_exif_does_not_damage_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.jpg", exif=b"Exif\0\0 nonsense", quality=100)
    assert abs(decode(tmp_path / "a.jpg").astype(int) - RED).max() <= 3


def test_deep_and_transparent_images_are_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.zeros((8, 8), np.uint16)
    deep[:4, :4] = 4095
    Image.fromarray(deep).save(tmp_path / "a.png", exif=exif)
    assert decode(tmp_path / "a.png", 1)[0].tolist() == [0] * 4 + [255] * 4
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 4, 4))
    clear.save(tmp_path / "b.png", exif=exif)
    assert decode(tmp_path / "b.png")[0, :, 0].tolist() == [255] * 4 + [0] * 4


def test_the_first_rules_decode_as_before(tmp_path: Path) -> None:
    first = Decoding(FIRST_RULES)
    clear = transparent_files(tmp_path)["rgba.png"]
    assert (decode(clear, decoding=first) == (200, 0, 0)).all()
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(tmp_path / "deep.png")
    assert (decode(tmp_path / "deep.png", 1, first) == 15).all()
