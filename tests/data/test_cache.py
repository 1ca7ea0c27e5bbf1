"""Prepared data: caching, verification, repair; digits; settings; cost of imports."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

import dgkd_search.data.cache as module
from dgkd_search.data import DataInfo, PreparedData, has_test, load_test, open_prepared, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.data.digits import Digits
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.prepared import verify_prepared
from dgkd_search.data.types import Dataset
from dgkd_search.errors import InputError

DIGITS = DataConfig("digits")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often data are decoded."""
    calls: list[int] = []
    plain = module._build

    def counted(
        config: DataConfig, dataset: Dataset, identity: str, streamed: bool
    ) -> dict[str, bytes]:
        calls.append(1)
        return plain(config, dataset, identity, streamed)

    monkeypatch.setattr(module, "_build", counted)
    return calls


def test_information(tmp_path: Path) -> None:
    data = prepare(replace(DIGITS, train_limit=200), tmp_path)
    info, pixels = data.info, data.train().images / 255
    assert info.train_count == 200 and info.validation_count == 100
    assert info.classes == tuple("0123456789") and info.channels == 1 and info.image_size == 8
    assert info.mean == pytest.approx([pixels.mean()]) and info.std == pytest.approx([pixels.std()])
    assert len(info.fingerprint) == 32 and Path(info.path) == data.path == tmp_path / data.path.name
    assert DataInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info


def test_another_share_of_validation_is_other_data(tmp_path: Path) -> None:
    plain = prepare(DIGITS, tmp_path)
    same = prepare(replace(DIGITS, validation=Digits.validation_fraction), tmp_path)
    assert same.path == plain.path
    other = prepare(replace(DIGITS, validation=0.5), tmp_path)
    assert other.path != plain.path
    assert other.info.fingerprint != plain.info.fingerprint
    assert (other.info.train_count, other.info.validation_count) == (719, 719)


def test_validation_images_may_be_trained_on_too(tmp_path: Path) -> None:
    config = DataConfig("digits", train_limit=100)
    apart, merged = prepare(config, tmp_path), prepare(replace(config, merged=True), tmp_path)
    assert merged.info.train_count == 150
    train, validation = apart.train(), apart.validation()
    joined = np.concatenate([train.images, validation.images])
    assert np.array_equal(merged.train().images, joined)
    assert np.array_equal(merged.train().labels, np.concatenate([train.labels, validation.labels]))
    assert np.array_equal(merged.validation().images, validation.images)
    assert merged.info.fingerprint != apart.info.fingerprint
    levels = joined / 255
    assert merged.info.mean == pytest.approx((levels.mean(),))
    assert merged.info.std == pytest.approx((levels.std(),))


def test_prepared_data_are_found_again(tmp_path: Path, builds: list[int]) -> None:
    first = prepare(DIGITS, tmp_path)
    assert prepare(DIGITS, tmp_path) == first == open_prepared(first.path)
    assert len(builds) == 1
    others = [
        replace(DIGITS, split_seed=1),
        replace(DIGITS, train_limit=99),
        replace(DIGITS, image_size=9),
    ]
    data = [prepare(config, tmp_path) for config in others]
    assert len(builds) == 4
    assert len({d.info.fingerprint for d in [first, *data]}) == 4


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    first = prepare(DIGITS, tmp_path / "one")
    second = prepare(replace(DIGITS, image_size=8), tmp_path / "two")
    assert first.info.fingerprint == second.info.fingerprint
    part = first.train()
    validation = first.validation()
    known = module._fingerprint(first.info.classes, part, validation)
    assert known == first.info.fingerprint
    images, labels = part.images.copy(), part.labels.copy()
    images[7, 0, 3, 3] ^= 1
    labels[7] = (labels[7] + 1) % 10
    for changed in (replace(part, images=images), replace(part, labels=labels)):
        assert module._fingerprint(first.info.classes, changed, validation) != known
        assert module._fingerprint(first.info.classes, part, changed) != known
    assert module._fingerprint(("zero", *first.info.classes[1:]), part, validation) != known


def _truncate(path: Path, by: int = 1) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def _link(path: Path) -> None:
    """Put a link in the place of a sound file or folder."""
    elsewhere = path.with_name(f"{path.name}-elsewhere")
    if path.is_file():
        elsewhere = path.parent.with_name(elsewhere.name)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "short images": lambda f: _truncate(f / "train_images.npy"),
    "long images": lambda f: (f / "train_images.npy").open("ab").write(b"x"),
    "short labels": lambda f: _truncate(f / "validation_labels.npy"),
    "empty": lambda f: (f / "validation_images.npy").write_bytes(b""),
    "no array": lambda f: (f / "train_labels.npy").write_bytes(b"\x80\x04N."),
    "zip": lambda f: np.savez((f / "train_labels.npy").open("wb"), a=np.zeros(3)),
    "missing": lambda f: (f / "train_labels.npy").unlink(),
    "other shape": lambda f: np.save(f / "train_labels.npy", np.zeros(3, np.int64)),
    "other type": lambda f: np.save(
        f / "train_labels.npy", np.load(f / "train_labels.npy").astype(np.int32)
    ),
    "no info": lambda f: (f / "info.json").unlink(),
    "linked": _link,
    "linked array": lambda f: _link(f / "train_images.npy"),
    "linked info": lambda f: _link(f / "info.json"),
    "half an info": lambda f: _truncate(f / "info.json", by=2),
    "other info": lambda f: (f / "info.json").write_text("[]"),
    "fields missing": lambda f: (f / "info.json").write_text(
        '{"classes": [], "mean": [], "std": []}'
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_data_are_set_aside_and_made_again(
    tmp_path: Path, builds: list[int], damage: Callable[[Path], object]
) -> None:
    config = replace(DIGITS, train_limit=40)
    first = prepare(config, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        damage(first.path)
    with pytest.raises(InputError, match="prepared data missing or damaged") as caught:
        open_prepared(first.path)
    assert len(caught.value.messages) == 1 and "\n" not in str(caught.value)
    again = prepare(config, tmp_path)
    assert again == first and len(builds) == 2
    assert np.array_equal(again.train().labels, prepare(config, tmp_path / "new").train().labels)
    assert len(list((tmp_path / "damaged").iterdir())) == 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, Path.touch])
def test_what_does_not_belong_to_prepared_data_is_not_read(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    data = prepare(replace(DIGITS, train_limit=40), tmp_path)
    make(data.path / "more.npy")
    with pytest.raises(InputError, match=r"more\.npy is missing, or does not belong there"):
        verify_prepared(data.path)


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    name = prepare(replace(DIGITS, train_limit=40), tmp_path / "other").path.name
    (tmp_path / f"{name}.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=r"\.lock: is a link, and links in a store are not"):
        prepare(replace(DIGITS, train_limit=40), tmp_path)
    assert not (tmp_path / "victim").exists()


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepared data missing or damaged"):
        open_prepared(tmp_path / "nowhere")


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    data = prepare(replace(DIGITS, train_limit=40), tmp_path)
    ours, other = tmp_path / f".tmp-0-{data.path.name}", tmp_path / ".tmp-0-other"
    for folder in (data.path, ours, other):
        folder.mkdir(exist_ok=True)
    (data.path / "info.json").unlink()
    prepare(replace(DIGITS, train_limit=40), tmp_path)
    assert not ours.exists() and other.exists()


def test_data_are_decoded_once_by_concurrent_callers(
    tmp_path: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = module._build

    def slow(
        config: DataConfig, dataset: Dataset, identity: str, streamed: bool
    ) -> dict[str, bytes]:
        time.sleep(0.3)
        return counted(config, dataset, identity, streamed)

    monkeypatch.setattr(module, "_build", slow)
    results: list[PreparedData] = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare(DIGITS, tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(set(results)) == 1 and len(builds) == 1


def test_arrays_are_mapped_private_and_taken_by_torch(tmp_path: Path) -> None:
    data = prepare(DIGITS, tmp_path)
    part = data.train()
    assert isinstance(part.images.base, np.memmap)
    tensor = torch.from_numpy(part.images)  # must not warn: warnings are errors in tests
    before = int(part.images[0, 0, 0, 0])
    tensor[0, 0, 0, 0] = before ^ 1
    assert data.train().images[0, 0, 0, 0] == before


def test_relative_caches_are_returned_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = prepare(replace(DIGITS, train_limit=40), Path("cache"))
    assert data.path.is_absolute() and Path(data.info.path).is_absolute()


def test_prepare_never_reads_a_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Digits) -> NoReturn:
        raise AssertionError("test set read")

    monkeypatch.setattr(Digits, "test", fail)
    prepare(DIGITS, tmp_path)
    assert has_test(DIGITS)
    with pytest.raises(AssertionError, match="test set read"):
        load_test(DIGITS)


def test_settings_out_of_range_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare(DataConfig("mnist", image_size=7, split_seed=-1), tmp_path)
    assert [message.split(":")[0] for message in caught.value.messages] == [
        "--dataset mnist",
        "--image-size 7",
        "--split-seed -1",
    ]
    with pytest.raises(
        InputError, match="--data-dir: missing; --dataset imagefolder needs the folder"
    ):
        open_dataset_files(DataConfig("imagefolder"))
    with pytest.raises(InputError, match="train-limit 19: must be at least 20"):
        prepare(replace(DIGITS, train_limit=19), tmp_path)
    with pytest.raises(InputError, match="give at most 1150"):
        prepare(replace(DIGITS, train_limit=1151), tmp_path)
    assert prepare(replace(DIGITS, train_limit=1150), tmp_path).info.train_count == 1150


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, dgkd_search.data; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_disk_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig("digits", train_limit=40)
    whole = prepare(config, tmp_path)

    def fails(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", fails)
        with pytest.raises(OSError, match="Input/output error"):
            prepare(config, tmp_path)
    assert not (tmp_path / "damaged").exists()
    assert prepare(config, tmp_path).path == whole.path


def test_only_image_files_have_decoding_rules(root: Path, tmp_path: Path) -> None:
    digits = prepare(replace(DIGITS, train_limit=40), tmp_path / "cache").info
    assert digits.decoding is None and "decoding" not in digits.to_dict()
    # The name of the prepared digits is that of versions without decoding rules.
    assert prepare(DIGITS, tmp_path / "cache").path.name == "d7726bb56827e989dab86d459f260d53"
    info = prepare(DataConfig("imagefolder", str(root), 16), tmp_path / "cache").info
    assert info.decoding == Decoding() and DataInfo.from_dict(info.to_dict()) == info


def test_another_background_is_other_data(root: Path, tmp_path: Path) -> None:
    for images in ("memory", "stream"):
        config = DataConfig("imagefolder", str(root), 16, images=images)
        white = prepare(config, tmp_path / "cache")
        assert prepare(replace(config, background="#FFFFFF"), tmp_path / "cache") == white
        black = prepare(replace(config, background="black"), tmp_path / "cache")
        assert black.path != white.path and black.info.decoded_by.background == (0, 0, 0)
        same = black.info.fingerprint == white.info.fingerprint
        assert same == (images == "memory")  # these pixels are opaque; streams don't know that


@pytest.mark.parametrize("images", ["memory", "stream"])
def test_the_training_images_determine_the_range_of_deep_images(
    tmp_path: Path, images: str
) -> None:
    for part, top in (("train", 4000), ("val", 9000), ("test", 9000)):
        for name in ("a", "b"):
            for i in range(10):
                path = tmp_path / "data" / part / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((16, 16), top - i, np.uint16)).save(path)
    config = DataConfig("imagefolder", str(tmp_path / "data"), 16, images=images)
    lines: list[str] = []
    data = prepare(config, tmp_path / "cache", lines.append)
    assert data.info.channels == 1 and data.info.decoded_by.values == (0, 4095)
    assert lines == ["images of more than 8 bits hold 12-bit values: 0..4095 becomes 0..255"]
    prepare(config, tmp_path / "cache", lines.append)
    assert len(set(lines)) == 1 and len(lines) == 2  # a second search is told, too
    assert data.info.mean[0] == pytest.approx((4000 >> 4) / 255, abs=0.01)
    if images == "memory":
        assert (data.train().images >= 249).all() and (data.validation().images == 255).all()
    for decoding in (data.info.decoded_by, None):
        assert (load_test(config, decoding).images == 255).all()


def test_deep_images_outside_the_training_images_have_the_range_of_16_bits(root: Path) -> None:
    for name in ("a", "b"):
        path = root / "test" / name / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 2**15, np.uint16)).save(path)
    config = DataConfig("imagefolder", str(root), 16)
    info = prepare(config, root / "cache").info
    assert info.decoding == Decoding()
    assert (load_test(config, info.decoded_by).images == 128).all()
