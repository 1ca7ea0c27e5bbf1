"""CIFAR, on a few images in the format of the published files."""

import copyreg
import hashlib
import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets as datasets
import torchvision.datasets.cifar as module

from dgkd_search.data import has_test, load_test, prepare
from dgkd_search.data.cifar import Cifar
from dgkd_search.data.config import DataConfig
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.types import Images, Labels
from dgkd_search.errors import InputError

NAMES = {"cifar10": [f"class{i}" for i in range(10)], "cifar100": [f"fine{i}" for i in range(100)]}


class CifarFiles(NamedTuple):
    """A CIFAR folder, the class of torchvision that reads it, and its contents.

    Attributes:
        images, labels: uint8 [N, 3, 32, 32] and int64 [N] of the training set.
        test_images: uint8 [C, 3, 32, 32], one per class, in the order of the classes.
    """

    config: DataConfig
    kind: type[datasets.CIFAR10]
    folder: Path
    images: Images
    labels: Labels
    test_images: Images


class _OldPickler(pickle.Pickler):
    """Pickles dtypes as NumPy did in 2009, with integer flags, of which NumPy 2.4.0-2.4.4 warn."""

    dispatch_table = copyreg.dispatch_table | {
        np.dtypes.UInt8DType: lambda _: (
            np.dtype,
            ("u1", 0, 1),
            (3, "|", None, None, None, -1, -1, 0),
        )
    }


def _dump(value: object) -> bytes:
    buffer = io.BytesIO()
    _OldPickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CifarFiles:
    """A folder with four training images and one test image per class."""
    dataset = request.param
    kind = datasets.CIFAR10 if dataset == "cifar10" else datasets.CIFAR100
    names = NAMES[dataset]
    label_key = "labels" if dataset == "cifar10" else "fine_labels"
    generator = np.random.default_rng(0)
    folder = tmp_path / "root" / kind.base_folder
    folder.mkdir(parents=True)

    def write(name: str, value: object) -> str:
        (folder / name).write_bytes(_dump(value))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(labels: Sequence[int]) -> tuple[dict[str, object], Images]:
        data = generator.integers(0, 256, (len(labels), 3072), np.uint8)
        return {"data": data, label_key: list(labels)}, data.reshape(-1, 3, 32, 32)

    train_list, images, labels = [], [], []
    parts = np.array_split(np.tile(np.arange(len(names)), 4), len(kind.train_list))
    for (name, _), part in zip(kind.train_list, parts, strict=True):
        value, pixels = batch(part.tolist())
        train_list.append([name, write(name, value)])
        images.append(pixels)
        labels.extend(part.tolist())
    value, test_images = batch(range(len(names)))
    test_name = kind.test_list[0][0]
    monkeypatch.setattr(kind, "train_list", train_list)
    monkeypatch.setattr(kind, "test_list", [[test_name, write(test_name, value)]])
    meta = write(kind.meta["filename"], {kind.meta["key"]: names})
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": meta})

    def no_network(*_: object, **__: object) -> NoReturn:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", no_network)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
    config = DataConfig(dataset, str(tmp_path / "root"))
    return CifarFiles(config, kind, folder, np.concatenate(images), np.array(labels), test_images)


def test_pixels_and_labels(cifar: CifarFiles) -> None:
    config, _, _, images, labels, test_images = cifar
    source = open_dataset_files(config)
    assert list(source.classes) == NAMES[config.dataset]
    assert source.labels()[0].tolist() == labels.tolist() and source.labels()[1] is None
    assert np.array_equal(source.read("train", [5, 0, 31]), images[[5, 0, 31]])
    part = load_test(config)
    assert np.array_equal(part.images, test_images)
    assert part.labels.tolist() == list(range(len(source.classes)))
    assert has_test(config)


def test_prepared(cifar: CifarFiles, tmp_path: Path) -> None:
    config, _, _, images, labels, _ = cifar
    data = prepare(config, tmp_path / "cache")
    classes = len(NAMES[config.dataset])
    assert data.info.validation_count == classes and data.info.train_count == 3 * classes
    both = [data.train(), data.validation()]
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for part in both:
        assert [known.pop(image.tobytes()) for image in part.images] == part.labels.tolist()
    assert not known


def test_other_image_size(cifar: CifarFiles, tmp_path: Path) -> None:
    config, _, _, images, _, _ = cifar
    small = open_dataset_files(DataConfig(config.dataset, config.data_dir, image_size=16))
    resized = small.read("train", [3])
    assert resized.shape == (1, 3, 16, 16)
    means = images[3].reshape(3, 16, 2, 16, 2).mean((2, 4))
    assert np.abs(resized[0] - means).mean() < 20  # noise of ±74, smoothed slightly differently


def test_test_images_stay_closed(
    cifar: CifarFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, kind, *_ = cifar
    seen = []
    plain = kind.__init__

    def spy(self: object, *arguments: object, **options: object) -> None:
        seen.append(options["train"])
        plain(self, *arguments, **options)

    monkeypatch.setattr(kind, "__init__", spy)
    prepare(config, tmp_path / "cache")
    assert seen == [True]
    load_test(config)
    assert seen == [True, False]


def test_wrong_checksum_is_refused(cifar: CifarFiles, tmp_path: Path) -> None:
    config, kind, folder, *_ = cifar
    path = folder / kind.train_list[0][0]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError) as caught:
        prepare(config, tmp_path / "cache")
    (message,) = caught.value.messages
    assert str(path) in message and kind.train_list[0][1] in message and "delete it" in message
    assert path.exists()


def test_missing_without_a_network(cifar: CifarFiles, tmp_path: Path) -> None:
    config, kind, *_ = cifar
    root = tmp_path / "elsewhere"
    with pytest.raises(InputError) as caught:
        prepare(DataConfig(config.dataset, str(root)), tmp_path / "cache")
    (message,) = caught.value.messages
    for part in (kind.filename, kind.tgz_md5, str(root), "no route to host"):
        assert part in message
    assert "\n" not in message
    assert not root.exists()


def test_a_mistyped_folder_leaves_only_what_was_there(cifar: CifarFiles, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for root in (tmp_path / "there", tmp_path / "there" / "not" / "here"):
        with pytest.raises(InputError, match="no download was possible"):
            prepare(DataConfig(cifar[0].dataset, str(root)), tmp_path / "cache")
        assert list((tmp_path / "there").iterdir()) == []


def test_half_a_download_is_removed(
    cifar: CifarFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, kind, *_ = cifar

    def breaks_off(_: str, path: str, **__: object) -> NoReturn:
        Path(path).write_bytes(b"half")
        print("50 %")
        raise URLError("connection reset")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", breaks_off)
    root = tmp_path / "elsewhere"
    with pytest.raises(InputError, match="connection reset"):
        prepare(DataConfig(config.dataset, str(root)), tmp_path / "cache")
    assert not (root / kind.filename).exists()
    output = capsys.readouterr()
    assert output.out == "" and "50 %" in output.err


def test_archive_put_there_by_hand(
    cifar: CifarFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, kind, folder, *_ = cifar
    root = tmp_path / "by-hand"
    root.mkdir()
    archive = root / kind.filename
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, kind.base_folder)
    with pytest.raises(InputError, match=rf"{kind.filename}: its md5 is not"):
        prepare(DataConfig(config.dataset, str(root)), tmp_path / "cache")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    data = prepare(DataConfig(config.dataset, str(root)), tmp_path / "cache")
    assert data.info.fingerprint == prepare(config, tmp_path / "cache2").info.fingerprint


def test_default_folder_is_the_users_cache() -> None:
    source = open_dataset_files(DataConfig("cifar10"))
    assert isinstance(source, Cifar)
    assert source.root.parts[-2:] == ("dgkd-search", "datasets")
    assert module.CIFAR10.base_folder not in source.root.parts
