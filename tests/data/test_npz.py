"""Datasets in .npz files."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    path = save(tmp_path / "mine.npz", test_images=IMAGES, test_labels=LABELS)
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("test_images.npy").header_offset
    content = bytearray(path.read_bytes())
    content[place + 9000] ^= 1  # a pixel; the archive has a checksum of it
    path.write_bytes(content)
    prepare(config(path), tmp_path / "store")
    with pytest.raises(InputError, match="test_images can't be read"):
        load_test(config(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": IMAGES.astype(complex)}, "train_images are complex128"),
        ({"train_images": IMAGES - 128.0}, "train_images go from -128 to 127; .* normalization"),
        ({"train_images": IMAGES.astype(np.uint16) * 16}, "train_images go from 0 to 4080; "),
        ({"train_images": IMAGES[:, 0, :, :5]}, "uint8 .60, 10, 5., 10 x 5 pixels: crop or pad"),
        ({"train_images": IMAGES.reshape(60, -1)}, "flat rows of 300 values"),
        ({"train_images": IMAGES.transpose(2, 3, 1, 0)}, r"\[H, W, C, N\]: use .*\(3, 0, 1, 2\)"),
        ({"train_images": IMAGES[:, 0].transpose(1, 2, 0)}, r"\[H, W, N\], or one image"),
        ({"train_images": IMAGES[:, [0, 1, 2, 2]]}, "4 channels: leave out the transparency"),
        ({"train_images": IMAGES[..., :0, :0]}, "at least one"),
        ({"train_images": IMAGES.astype("S3")}, "train_images are .S3"),
        ({"train_images": IMAGES[:, :2]}, "train_images are uint8"),
        ({"train_images": IMAGES[..., :5]}, "square"),
        ({"train_labels": LABELS[:5]}, "train_labels are int64 .5,."),
        ({"train_labels": LABELS + 0.5}, "train_labels are float64 and contain 0.5"),
        ({"train_labels": LABELS.astype(str)}, "train_labels are texts; .* numpy.unique"),
        ({"train_labels": LABELS.reshape(-1, 2)}, r"train_labels are int64 \(30, 2\)"),
        ({"train_labels": LABELS.reshape(60, 1, 1)}, r"train_labels are int64 \(60, 1, 1\)"),
        ({"classes": np.array([b"\xff\xff\xff\x7f"] * 3).view("<U1")}, "give 3 different"),
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
        ({f"a{i}": IMAGES[:1] for i in range(30)}, "has unknown arrays: a0, .* and 22 more"),
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


def test_the_files_of_medmnist_are_read_as_they_are(tmp_path: Path) -> None:
    """They have labels [N, 1], gray images without channels, color ones with the channels last."""
    for images, channels in ((IMAGES[:, 0], 1), (IMAGES.transpose(0, 2, 3, 1), 3)):
        path = tmp_path / f"{channels}.npz"
        labels, parts = LABELS.astype(np.uint8)[:, None], ("train", "val", "test")
        arrays = {f"{part}_images": images for part in parts}
        arrays |= {f"{part}_labels": labels for part in parts}
        dataset = NpzDataset(save(path, **arrays))
        assert (dataset.channels, dataset.classes) == (channels, ("0", "1", "2"))
        assert [part.tolist() for part in dataset.labels() if part is not None] == [[*LABELS]] * 2
        assert (dataset.test().labels == LABELS).all()
        assert not dataset.notes(), "nothing was changed"


def test_labels_of_several_classes_are_refused_by_name(tmp_path: Path) -> None:
    labels = np.zeros((60, 14), np.uint8)  # as ChestMNIST's
    labels[:20, 2:5] = 1
    labels[20:59, 7] = 1
    path = save(tmp_path / "mine.npz", train_labels=labels)
    with pytest.raises(InputError, match=r"multi-label \[N, 14\]: 20 images have .*, 1 none; give"):
        NpzDataset(path)


@pytest.mark.parametrize("dtype", [">f2", "<f4", ">f8"])
def test_floats_from_zero_to_one_are_the_same_images(tmp_path: Path, dtype: str) -> None:
    plain = NpzDataset(save(tmp_path / "plain.npz", **TEST))
    scaled = (IMAGES / 255).astype(dtype)
    path = save(tmp_path / "f.npz", train_images=scaled, **TEST | {"test_images": scaled[:6]})
    dataset = NpzDataset(path)
    assert dataset.identity() == plain.identity()
    assert (dataset.test().images == IMAGES[:6]).all()
    (note,) = dataset.notes()
    assert "in 0..1: multiplied by 255 and rounded" in note
    whole = NpzDataset(save(tmp_path / "whole.npz", train_images=IMAGES.astype(dtype)))
    assert whole.identity() == plain.identity()
    assert "up to 255: rounded" in whole.notes()[0]


def test_parts_on_two_scales_are_refused(tmp_path: Path) -> None:
    test = {"test_images": IMAGES[:6] / 255, "test_labels": LABELS[:6]}
    dataset = NpzDataset(save(tmp_path / "mine.npz", train_images=IMAGES * 1.0, **test))
    with pytest.raises(InputError, match=r"test_images are in 0\.\.1, train_images in 0\.\.255"):
        dataset.test()


def test_labels_from_one_are_shifted_and_keep_their_names(tmp_path: Path) -> None:
    test = TEST | {"test_labels": LABELS[:6] + 1}
    dataset = NpzDataset(save(tmp_path / "mine.npz", train_labels=LABELS + 1, **test))
    assert dataset.classes == ("1", "2", "3")
    assert (dataset.labels()[0] == LABELS).all()
    assert (dataset.test().labels == LABELS[:6]).all()
    assert dataset.notes() == ("labels begin at 1: 1 to 3 were read as the 3 classes",)
    named = {"train_labels": LABELS + 1, "classes": np.array(["a", "b", "c"])}
    assert NpzDataset(save(tmp_path / "named.npz", **named)).classes == ("a", "b", "c")
    from_zero = NpzDataset(save(tmp_path / "zero.npz", train_labels=LABELS + 1, **TEST))
    with pytest.raises(
        InputError, match=r"test_labels: 0 must be from 1 .* train_labels begin at 1"
    ):
        from_zero.test()
    named["classes"] = np.array(["none", "a", "b", "c"])  # label 0 has a name, and no image
    four = config(save(tmp_path / "four.npz", **named))
    with pytest.raises(InputError, match="class 'none': has 0 training images"):
        prepare(four, tmp_path / "store")


def test_layouts_in_memory_and_byte_orders_make_no_difference(tmp_path: Path) -> None:
    plain = NpzDataset(save(tmp_path / "plain.npz"))
    for name, arrays in {
        "fortran": {"train_images": np.asfortranarray(IMAGES)},
        "big-endian": {"train_labels": LABELS.astype(">i4")},
        "wide": {"train_images": IMAGES.astype(">u2"), "train_labels": LABELS.astype(np.uint8)},
        "one-hot": {"train_labels": np.eye(3, dtype=np.float32)[LABELS]},
        "floats": {"train_labels": LABELS.astype(np.float32)[:, None]},
    }.items():
        assert NpzDataset(save(tmp_path / f"{name}.npz", **arrays)).identity() == plain.identity()


def npy(shape: tuple[int, ...], content: bytes, descr: str = "|u1") -> bytes:
    """Return a .npy file whose header promises a shape, whatever follows."""
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + content


def archive(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that occurs twice
        for name, content in members:
            file.writestr(name, content)
    return path


HUGE = b"\x93NUMPY\x02\x00\xff\xff\xff\xff"  # a header of 4 GiB
HOSTILE = {
    "too few": (npy((60, 10, 10), bytes(64)), "promises uint8 .60, 10, 10., .* but 64 B follow"),
    "far too few": (npy((3 * 10**7, 1000, 1000), bytes(64)), "27.3 TB, but 64 B follow"),
    "beyond integers": (npy((2**62, 2**62, 2**62), bytes(64)), "is damaged: its header promises"),
    "negative": (npy((-60, 10, 10), bytes(64)), "has a shape that is no shape"),
    "a truth value": (npy((True, 10, 10), bytes(100)), "has a shape that is no shape"),
    "long header": (HUGE + bytes(99), "has a damaged header"),
    "deep header": (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000, "has a damaged header"),
    "minus signs": (b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 9999 + b"1", "has a damaged header"),
    "no header": (b"\x93NUMPY\x01\x00", "has a damaged header"),
    "unknown version": (b"\x93NUMPY\x09\x00" + bytes(99), "has version 9.0 of the format"),
    "pickle": (b"\x80\x04N.", "is no array in NumPy's format"),
    "odd type": (npy((60, 10, 10), bytes(64), "|V0"), "holds no numbers"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_promise_is_compared_with_the_file(tmp_path: Path, case: str) -> None:
    content, message = HOSTILE[case]
    path = archive(
        tmp_path / "lie.npz", [("train_images.npy", content), ("train_labels.npy", HUGE)]
    )
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            NpzDataset(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert len(caught.value.messages) == 1 and len(str(caught.value)) < 600


def test_an_array_that_needs_more_than_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sizes are true: a small file of zeros inflates to the large array that it promises."""
    content = npy((100, 200, 200), bytes(4_000_000))
    members = [("train_images.npy", content), ("train_labels.npy", npy((100,), bytes(100)))]
    path = archive(tmp_path / "mine.npz", members, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr("dgkd_search.data.npz.available_memory", lambda: 3_900_000)
    with pytest.raises(InputError, match=r"needs 3.8 MB of memory, and 3.7 MB are free; use"):
        NpzDataset(path)
    monkeypatch.setattr("dgkd_search.data.npz.available_memory", lambda: None)
    assert NpzDataset(path).image_size == 200


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_directory_of_an_archive_can_lie(tmp_path: Path, method: int) -> None:
    """It names 2 GB for a member of a few bytes, and the array's header agrees."""
    content = npy((2000, 1000, 1000), bytes(64))
    members = [("train_images.npy", content), ("train_labels.npy", npy((2000,), bytes(2000)))]
    path = archive(tmp_path / "lie.npz", members, method)
    size, lie = len(content).to_bytes(4, "little"), (2_000_000_128).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, lie))
    with zipfile.ZipFile(path) as file:
        assert file.getinfo("train_images.npy").file_size == 2_000_000_128
    with pytest.raises(InputError, match=r"train_images is damaged: it promises 1\.9 GB in"):
        NpzDataset(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("train_images.npy", b"1"), ("train_images.npy", b"2")], "train_images.npy twice"),
        ([("train_images", b"1")], "contains train_images, which is no .npy"),
        ([("__MACOSX/", b"")], "contains __MACOSX/, which is no .npy"),
        ([("deep/train_images.npy", b"1")], "unknown arrays: deep/train_images"),
        ([], "has no train_images and no train_labels"),
    ],
)
def test_odd_members(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NpzDataset(archive(tmp_path / "mine.npz", members))


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "mine.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first member
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(InputError, match="train_images is encrypted"):
        NpzDataset(tmp_path / "mine.npz")


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(InputError, match="is not a regular file"):
        NpzDataset(tmp_path / "pipe.npz")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    members = [
        ("train_images.npy", npy((6, 2, 2), bytes(24))),
        ("train_labels.npy", npy((6,), b"\0\1" * 3)),
    ]
    content = bytearray(archive(tmp_path / "mine.npz", members, method).read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1)
    ):
        content[place] = value
    cut = data.draw(st.integers(0, len(content)))
    (tmp_path / "mine.npz").write_bytes(content if cut % 3 else content[:cut])
    with contextlib.suppress(InputError):
        NpzDataset(tmp_path / "mine.npz")
