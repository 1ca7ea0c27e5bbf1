"""Datasets in .npz files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dgkd_search
from dgkd_search.cli.main import main
from dgkd_search.data import has_test, load_test, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.npz import NpzDataset
from dgkd_search.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 3, 10, 10), np.uint8)
LABELS = np.arange(60) % 3
TEST = {"test_images": IMAGES[:6], "test_labels": LABELS[:6]}


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **({"train_images": IMAGES, "train_labels": LABELS} | arrays))
    return path


def config(path: Path, **values: Any) -> DataConfig:
    return DataConfig("arrays", str(path), **values)


def test_a_file_of_arrays_is_a_data_set(tmp_path: Path) -> None:
    names = np.array(["bar", "circle", "cross"])
    path = save(tmp_path / "mine.npz", classes=names, **TEST)
    data = prepare(config(path), tmp_path / "store")
    assert data.info.classes == ("bar", "circle", "cross")
    assert (data.info.channels, data.info.image_size) == (3, 10)
    train, validation = data.train(), data.validation()
    assert (len(train.labels), len(validation.labels)) == (54, 6), "a tenth is set apart"
    known = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    seen = []
    for part in (train, validation):
        for image, label in zip(part.images, part.labels, strict=True):
            assert known[image.tobytes()] == label
            seen.append(image.tobytes())
    assert len(set(seen)) == 60
    test = load_test(config(path))
    assert (test.images == IMAGES[:6]).all()
    assert (test.labels == LABELS[:6]).all()


@pytest.mark.parametrize(
    "given",
    [
        IMAGES.transpose(0, 2, 3, 1),
        IMAGES[:, 0],
        IMAGES[:, :1],
        IMAGES.transpose(0, 2, 3, 1)[..., :1],
    ],
    ids=["channels last", "no channels", "one channel", "one channel last"],
)
def test_layouts(tmp_path: Path, given: np.ndarray) -> None:
    source = NpzDataset(save(tmp_path / "mine.npz", train_images=given))
    found = source.read("train", [0, 5])
    assert (found == IMAGES[[0, 5]][:, : source.channels]).all()
    assert source.channels == (3 if given.shape[-1] == 3 else 1)


def test_own_validation_and_no_test(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.npz", val_images=IMAGES[:9], val_labels=LABELS[:9])
    data = prepare(config(path), tmp_path / "store")
    assert (len(data.train().labels), len(data.validation().labels)) == (60, 9)
    assert not has_test(config(path))
    with pytest.raises(InputError, match="has no test_images"):
        load_test(config(path))


def test_images_are_resized_on_demand(tmp_path: Path) -> None:
    data = prepare(config(save(tmp_path / "mine.npz"), image_size=16), tmp_path / "store")
    assert data.train().images.shape[1:] == (3, 16, 16)


def test_any_change_of_what_is_trained_on_is_another_data_set(tmp_path: Path) -> None:
    other = IMAGES.copy()
    other[3, 1, 4, 4] ^= 1
    identities = {
        NpzDataset(save(tmp_path / f"{i}.npz", **arrays)).identity()
        for i, arrays in enumerate(
            (
                {},
                {"train_images": other},
                {"train_labels": LABELS[::-1]},
                {"train_images": IMAGES.transpose(0, 1, 3, 2)},
                {"val_images": IMAGES[:9], "val_labels": LABELS[:9]},
                {"classes": np.array(["a", "b", "c"])},
                {"classes": np.array(["a", "c", "b"])},
            )
        )
    }
    assert len(identities) == 7
    assert NpzDataset(save(tmp_path / "test.npz", **TEST)).identity() in identities, (
        "test plays no part"
    )


def test_the_test_part_is_not_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.npz", **TEST)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["test_images.npy"] = members["test_images.npy"][:200]  # its header and some pixels
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    prepare(config(path), tmp_path / "store")
    with pytest.raises(InputError, match="test_images can't be read"):
        load_test(config(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": IMAGES.astype(float)}, "train_images are float64"),
        ({"train_images": IMAGES[:, :2]}, "train_images are uint8"),
        ({"train_images": IMAGES[..., :5]}, "square"),
        ({"train_labels": LABELS[:5]}, "train_labels are int64 .5,."),
        ({"train_labels": LABELS.astype(float)}, "train_labels are float64"),
        ({"train_labels": LABELS - 1}, "-1 must be from 0"),
        ({"train_labels": LABELS.astype(np.uint64) + np.uint64(2**63)}, "must be from 0"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "at least one"),
        ({"val_images": IMAGES[:0], "val_labels": LABELS[:0]}, "at least one"),
        ({"classes": np.array(["a", "b"])}, "give 3 different"),
        ({"classes": np.array(["a", "b", "b"])}, "give 3 different"),
        ({"classes": np.array([b"a", b"b", b"c"])}, "give 3 different"),
        ({"test_images": IMAGES}, "has no test_labels"),
        ({"test_labels": LABELS}, "has no test_images"),
        ({"test_images": IMAGES[:, :, :8, :8], "test_labels": LABELS}, "unlike train_images"),
        ({"tset_images": IMAGES}, "has unknown arrays: tset_images"),
        ({"train_labels": np.array([{}] * 60)}, "train_labels can't be read"),
        ({"val_images": IMAGES[:, :, :8, :8], "val_labels": LABELS}, "unlike train_images"),
        ({"val_images": IMAGES, "val_labels": LABELS + 1}, "val_labels go up to 3"),
        ({"val_images": IMAGES}, "has no val_labels"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        prepare(config(path), tmp_path / "store")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken", b"text"])
def test_what_is_no_archive(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.npz"
    if content is not None:
        path.write_bytes(content)
    assert main(["--dataset", "arrays", "--data-dir", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert str(path) in error
    assert main(["--dataset", "arrays", "--data-dir", str(tmp_path), "--dry-run"]) == 2
    assert main(["--dataset", "arrays", "--dry-run"]) == 2


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", IMAGES)
    with pytest.raises(InputError, match=r"is not an \.npz file"):
        NpzDataset(tmp_path / "mine.npy")


def test_a_chain_trains_on_arrays(tmp_path: Path) -> None:
    stages, data = dgkd_search.plan(
        ["plain4-c10", "plain2-c10"],
        dataset="arrays",
        data_dir=str(save(tmp_path / "mine.npz")),
        family="plain-c10",
        epochs=1,
        store=str(tmp_path / "store"),
    )
    result = dgkd_search.run_trial(stages, data, tmp_path / "store")
    assert 0 <= result.val_accuracy <= 100
