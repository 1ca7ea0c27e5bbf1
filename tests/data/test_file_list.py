"""Streamed folders: when they are streamed, what is stored, what changes the fingerprint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from PIL import Image

import dgkd_search.data.cache as prepared_module
import dgkd_search.data.file_list as listing_module
from dgkd_search.config.options import Options
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.data import DataInfo, PreparedData, open_prepared, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.open import open_dataset_files
from dgkd_search.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with ten training and two validation images each, 16 x 16 pixels."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 10), ("val", 2)):
        for name, low in (("a", 0), ("b", 128)):
            for i in range(count):
                pixels = generator.integers(low, low + 100, (16, 16, 3), np.uint8)
                path = tmp_path / "data" / part / name / f"{i}é ü.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return tmp_path / "data"


class Prepare(Protocol):
    """Prepares the folder with options of ``DataConfig``."""

    def __call__(
        self,
        images: str = "stream",
        image_size: int = 16,
        train_limit: int | None = None,
        split_seed: int = 0,
    ) -> PreparedData: ...


@pytest.fixture
def prepared(root: Path, tmp_path: Path) -> Prepare:
    def make(
        images: str = "stream",
        image_size: int = 16,
        train_limit: int | None = None,
        split_seed: int = 0,
    ) -> PreparedData:
        config = DataConfig("imagefolder", str(root), image_size, train_limit, split_seed, images)
        return prepare(config, tmp_path / "cache")

    return make


def test_a_listing_names_the_images_that_memory_would_hold(prepared: Prepare) -> None:
    streamed, memory = prepared(), prepared(images="memory")
    assert streamed.info.streamed and not memory.info.streamed
    as_streamed = replace(
        memory.info, fingerprint=streamed.info.fingerprint, path=streamed.info.path, streamed=True
    )
    assert streamed.info == as_streamed  # including mean and std
    assert not list(streamed.path.glob("*images*"))
    for listing, arrays in (
        (streamed.listing("train"), memory.train()),
        (streamed.listing("validation"), memory.validation()),
    ):
        assert np.array_equal(listing.labels, arrays.labels)
        paths = listing.paths(range(len(listing.labels)))
        for path, image in zip(paths, arrays.images, strict=True):
            assert np.array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), image)


def test_without_own_validation_images_a_tenth_is_listed_apart(
    prepared: Prepare, root: Path
) -> None:
    (root / "val").rename(root / ".val")
    data = prepared()
    train, validation = data.listing("train"), data.listing("validation")
    assert (len(train.labels), len(validation.labels)) == (18, 2)
    names = [*train.names.tolist(), *validation.names.tolist()]
    assert len(set(names)) == 20 and all(name.startswith(b"train/") for name in names)


def test_a_folder_is_found_again_and_opened_from_its_files(prepared: Prepare) -> None:
    data = prepared()
    assert prepared() == data == open_prepared(data.path)
    assert DataInfo.from_dict(json.loads(json.dumps(data.info.to_dict()))) == data.info


@pytest.mark.parametrize("size", [24 * 3 * 16 * 16, 24 * 3 * 16 * 16 - 1])
def test_auto_streams_what_would_take_too_much_memory(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(prepared_module, "_STREAM_ABOVE", size)
    streamed = size < 24 * 3 * 16 * 16  # both parts, decoded
    assert prepared(images="auto").info.streamed is streamed
    assert prepared(images="auto") == prepared(images="stream" if streamed else "memory")
    assert not prepared(images="auto", train_limit=10).info.streamed


def test_the_limit_is_a_constant_of_eight_gibibytes() -> None:
    assert prepared_module._STREAM_ABOVE == 8 * 1024**3


def test_other_data_sets_are_never_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_module, "_STREAM_ABOVE", 0)
    assert not prepare(DataConfig("digits", train_limit=40), tmp_path).info.streamed


def test_what_differs_is_other_data(prepared: Prepare, root: Path) -> None:
    data = [
        prepared(),
        prepared(images="memory"),
        prepared(image_size=17),
        prepared(train_limit=12),
        prepared(train_limit=12, split_seed=1),
    ]
    path = root / "val/b/1é ü.png"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    data.append(prepared())
    with path.open("ab") as file:
        file.write(b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    data.append(prepared())
    (root / "train/a/3é ü.png").rename(root / "train/a/3.png")
    data.append(prepared())
    (root / "train/a/3.png").rename(root / "train/b/3.png")
    data.append(prepared())
    assert len({d.info.fingerprint for d in data}) == len({d.path for d in data}) == len(data)


def test_mean_and_deviation_are_those_of_a_fixed_sample(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "_SAMPLE", 7)
    monkeypatch.setattr(listing_module, "_CHUNK_BYTES", 2 * 3 * 16 * 16)
    data = prepared()
    paths = data.listing("train").paths(range(20))
    dataset = open_dataset_files(DataConfig("imagefolder", str(paths[0].parents[2]), image_size=16))
    everything = dataset.read("train", range(20))
    chunks = list(listing_module.sample(dataset, np.arange(20)))
    assert [len(chunk) for chunk in chunks] == [2, 2, 2, 1]
    pixels = np.concatenate(chunks)
    assert len({image.tobytes() for image in pixels}) == 7
    assert {image.tobytes() for image in pixels} < {image.tobytes() for image in everything}
    assert data.info.mean == pytest.approx((pixels / 255).mean((0, 2, 3)))
    assert data.info.std == pytest.approx((pixels / 255).std((0, 2, 3)))


def test_an_unreadable_image_of_the_sample_is_named(prepared: Prepare, root: Path) -> None:
    (root / "train/b/4é ü.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    with pytest.raises(InputError, match=r"train/b/4é ü\.png: not a readable image"):
        prepared()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no root": lambda folder: (folder / "root.json").unlink(),
    "other root": lambda folder: (folder / "root.json").write_text("5"),
    "no names": lambda folder: (folder / "train_names.npy").unlink(),
    "other names": lambda folder: np.save(folder / "train_names.npy", np.zeros(20)),
    "fewer names": lambda folder: np.save(folder / "validation_names.npy", np.array([b"x"])),
    "short labels": lambda folder: os.truncate(folder / "train_labels.npy", 150),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_listing_is_made_again(
    prepared: Prepare, damage: Callable[[Path], object]
) -> None:
    data = prepared()
    damage(data.path)
    with pytest.raises(InputError, match="prepared data missing or damaged"):
        open_prepared(data.path)
    assert prepared() == data == open_prepared(data.path)


def test_what_cannot_be_streamed_is_refused_in_one_line(root: Path) -> None:
    for dataset in ("digits", "cifar10"):
        with pytest.raises(InputError) as caught:
            open_dataset_files(DataConfig(dataset, images="stream"))
        (message,) = caught.value.messages
        assert message.startswith(
            f"--images stream: only image files can be streamed (imagefolder), not {dataset};"
        )
        with pytest.raises(InputError) as caught:
            resolve(parse_options({"dataset": dataset, "images": "stream"}))
        (message,) = caught.value.messages
        assert message.startswith(
            f"--images stream: only image files can be streamed (imagefolder), not {dataset};"
        )
    with pytest.raises(
        InputError, match="--images 'disk': unknown; choose from auto, memory, stream"
    ):
        open_dataset_files(DataConfig("imagefolder", str(root), images="disk"))
    with pytest.raises(InputError, match="--images disk: unknown; choose from"):
        parse_options({"images": "disk"})


def test_the_option_reaches_the_data_and_the_configuration_file(root: Path) -> None:
    given = {"dataset": "imagefolder", "data-dir": str(root), "images": "stream"}
    resolved = resolve(parse_options(given))
    assert resolved.config.data.images == "stream"
    assert to_yaml_values(resolved.options)["images"] == "stream"
    assert resolve(Options()).config.data.images == "auto"


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "/etc/passwd", ".."])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    listing = listing_module.FileList(
        tmp_path, np.array([b"a/1.png", name.encode()]), np.zeros(2, np.int64)
    )
    assert listing.paths([0]) == [tmp_path / "a" / "1.png"]
    with pytest.raises(ValueError, match="is not inside"):
        listing.paths([0, 1])
