"""Files are recognized by content, read without running code, in bounded time and memory."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from dgkd_search.cli.main import main
from dgkd_search.distillation.checkpoint_file import open_checkpoint
from dgkd_search.distillation.pretrained import read_teacher
from dgkd_search.distillation.stored_tensor import StoredTensor
from dgkd_search.errors import InputError
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training.weights import from_bytes

CNN = Architecture("cnn", "cnn2", 10, 1, 8)


def draw() -> dict[str, Tensor]:
    return build(CNN, torch.Generator().manual_seed(1)).state_dict()


def saved(value: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


LEGACY = {"_use_new_zipfile_serialization": False}
FORMATS: dict[str, Callable[[Any], bytes]] = {
    "safetensors": safetensors.torch.save,
    "archive": saved,
    "before 1.6": lambda state: saved(state, **LEGACY),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors", ""])
def test_the_content_tells_the_format(tmp_path: Path, form: str, suffix: str) -> None:
    path = tmp_path / f"teacher{suffix}"
    path.write_bytes(FORMATS[form](draw()))
    found = from_bytes(read_teacher(path, CNN).weights)
    assert all(torch.equal(found[name], value) for name, value in draw().items())


class Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("touch harm",)


class HarmfulState:
    def __setstate__(self, state: object) -> None:
        Path("harm").touch()

    def __getstate__(self) -> object:
        return {"a": 1}


@pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}])
def test_no_code_of_a_file_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = saved({"model": draw(), "a": Harmful(), "b": HarmfulState()}, **options)
    Path("teacher.pt").write_bytes(content)
    read_teacher(Path("teacher.pt"), CNN)
    assert [*Path().iterdir()] == [Path("teacher.pt")]
    pickle.loads(pickle.dumps(HarmfulState()))
    assert Path("harm").exists(), "the test can fail"


def archive(pickled: bytes, **entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickled)
        for name, content in entries.items():
            made.writestr(f"archive/{name}", content)
    return file.getvalue()


def compressed(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


def script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.ReLU()), file)
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3))
    return file.getvalue()


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def larger(content: bytes) -> bytes:
    """Return an archive whose classifier promises more values than its storage holds."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        described = old.read("archive/data.pkl")
        entries = {n.partition("/")[2]: old.read(n) for n in old.namelist() if "/data/" in n}
    entries = {name: data[:-4] for name, data in entries.items()}
    return archive(described, **entries)


PROTOCOL = b"\x80\x02"
MANY = b"}" * 1_000_000 + b"."
LAUGHS = b"]q\x00" + b"".join(
    b"]" + b"h" + bytes([i]) * 1 + b"a" + b"h" + bytes([i]) + b"a" + b"q" + bytes([i + 1])
    for i in range(200)
)


# The same tuple twice, forty times over; its text would have 2^40 parts.
TUPLES = b"K\x01q\x00" + b"0h\x00h\x00\x86q\x00" * 40


def tensor_of(key: bytes, size: bytes) -> bytes:
    """Return a state dict of one tensor of a dimension, with these pickles of numbers in it."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\n" + key + b"X\3\0\0\0cpuK\x08tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return b"\x80\x02}U\1w" + rebuild + storage + b"K\0" + size + b"\x85h\1\x85\x89NtRs."


def number_of(size: int) -> bytes:
    """Return the pickle of a number that has this many bytes, and remember it as 1."""
    return b"\x8b" + struct.pack("<I", size) + b"\x7f" * size + b"q\1"


def before_1_6(keys: bytes) -> bytes:
    described: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {}, {})
    heads = [pickle.dumps(value, 2) for value in described]
    return b"".join(heads) + PROTOCOL + keys + b"."


def safetensors_of(names: Iterable[str]) -> bytes:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps(dict.fromkeys(names, empty)).encode()
    return struct.pack("<Q", len(header)) + header


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is empty"),
    "web page": (lambda: b"\n<!DOCTYPE html><html><body>404</body></html>", "it is a web page"),
    "Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a pointer of Git LFS); run git lfs pull",
    ),
    "text": (lambda: b"nonsense", "is damaged or not a file of weights; give"),
    "zeros": (lambda: bytes(4096), "is damaged or not a file of weights; give"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "is damaged or not a file of weights"),
    "arrays": (arrays, "an archive, but not one of torch.save"),
    "TorchScript": (script, "it is a TorchScript program; save the state_dict()"),
    "whole network": (lambda: saved(nn.Linear(1, 1)), "torch.nn.modules.linear.Linear)"),
    "whole network before 1.6": (
        lambda: saved({"net": nn.Linear(1, 1)}, **LEGACY),
        "because it could run code (",
    ),
    "whole network and a loss": (
        lambda: saved({"net": nn.Linear(1, 1), "loss": torch.ones(1)}),
        "because it could run code (",
    ),
    "other names": (
        lambda: saved({"a.b": torch.ones(1), "args": argparse.Namespace()}),
        "has no tensor of cnn2, but a.b; give weights of cnn2 for 10 classes",
    ),
    "number": (lambda: saved(7), "contains no state dict"),
    "list": (lambda: saved([torch.ones(1)]), "contains no state dict"),
    "pickled dictionary": (lambda: pickle.dumps(draw()), "it is a pickle of other code"),
    "pickled object": (lambda: pickle.dumps(Harmful()), "because it could run code (posix.system)"),
    "compressed": (lambda: compressed(saved(draw())), "is compressed, which torch.save never does"),
    "missing storage": (lambda: archive(b"\x80\x02}.", x=b""), "contains no state dict"),
    "short storages": (lambda: larger(saved(draw())), "holds fewer values than a tensor needs"),
    "big-endian": (
        lambda: replaced(saved(draw()), b"little", b"big\0\0\0").replace(b"big\0\0\0", b"bigbig"),
        "damaged",
    ),
    "many objects": (lambda: archive(PROTOCOL + MANY), "it holds too much beside tensors"),
    "many objects in a frame": (
        lambda: archive(b"\x80\x04\x95" + struct.pack("<Q", len(MANY)) + MANY),
        "it holds too much beside tensors",
    ),
    "large memo": (lambda: archive(PROTOCOL + b"}r\xff\xff\xff\x7f."), "contains no state dict"),
    "large bytes": (
        lambda: archive(b"\x80\x04\x8e" + struct.pack("<Q", 2**40)),
        "it holds too much beside tensors",
    ),
    "large bytearray": (
        lambda: archive(b"\x80\x05\x96" + struct.pack("<Q", 2**40)),
        "it holds too much beside tensors",
    ),
    "nested tuples as a key": (
        lambda: archive(PROTOCOL + b"})" + b"\x85" * 200_000 + b"Ns."),
        "contains no state dict",
    ),
    "many classes": (
        lambda: archive(PROTOCOL + b"".join(b"ca\n%d\n0" % i for i in range(2000)) + b"}."),
        "it holds too much beside tensors",
    ),
    "lists of lists": (lambda: archive(PROTOCOL + LAUGHS + b"."), "it is nested too deeply"),
    "extension": (lambda: archive(b"\x80\x02\x82\x01."), "unreadable pickle"),
    "endless line": (lambda: archive(b"c" + b"a" * 200_000), "unreadable pickle"),
    "many tensors": (lambda: safetensors_of(map(str, range(20_001))), "it has 20,001 tensors"),
    "names of many parts": (
        lambda: safetensors_of(f"{i}.{'a.' * 140}x" for i in range(20_000)),
        "has no tensor of cnn2, but 0.a",
    ),
    "large number": (
        lambda: archive(tensor_of(b"U\1k", number_of(10**7))),
        "a tensor has an impossible shape",
    ),
    "tuples as the key of a storage": (
        lambda: archive(tensor_of(TUPLES, b"K\1q\1")),
        "a storage has an impossible description",
    ),
    "tuples as a key before 1.6": (
        lambda: before_1_6(b"](" + TUPLES + b"e"),
        "it lacks the list of its storages",
    ),
    "large header": (
        lambda: struct.pack("<Q", 2**62) + b'{"a":1}',
        "is damaged or not a file of weights",
    ),
    "safetensors that promise more": (
        lambda: safetensors.torch.save(draw())[:-9],
        "is damaged or not a file of weights",
    ),
    "cut off": (lambda: saved(draw())[:-100], "is damaged or not a file of weights"),
    "cut off before 1.6": (lambda: saved(draw(), **LEGACY)[:-9], "it is cut off"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.filterwarnings("ignore:`torch.jit.s.*:FutureWarning")
def test_what_is_no_file_of_weights_is_refused_in_a_line(tmp_path: Path, hostile: str) -> None:
    make, message = HOSTILE[hostile]
    path = tmp_path / "teacher.pth"
    path.write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(InputError) as caught:
        read_teacher(path, CNN)
    (line,) = caught.value.messages
    assert line.startswith(f"--teacher-weights {path}: ") and message in line
    assert "\n" not in line and len(line) < 500
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def sparse_archive(path: Path) -> None:
    """Write an archive with a storage of 3 GiB of zeros, which takes no room on the disk."""
    path.write_bytes(saved(draw()))
    with zipfile.ZipFile(path, "a") as made:
        (first,) = (info for info in made.infolist() if info.filename.endswith("/data/0"))
        del made.NameToInfo[first.filename]
        made.filelist.remove(first)
        info = zipfile.ZipInfo(first.filename)
        with made.open(info, "w", force_zip64=True) as entry:
            entry.write(bytes(8))
            assert made.fp is not None
            made.fp.seek(3 * 2**30, os.SEEK_CUR)
            entry._file_size += 3 * 2**30  # type: ignore[attr-defined]


def test_a_storage_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pt"
    sparse_archive(path)
    assert path.stat().st_size > 3 * 2**30
    with pytest.raises(InputError, match="data/0 is larger than"):
        read_teacher(path, CNN)


def test_a_file_before_1_6_promises_no_more_than_it_holds(tmp_path: Path) -> None:
    content = bytearray(saved(draw(), **LEGACY))
    count = struct.pack("<q", 18)  # of the first convolution's storage
    place = content.rindex(count + draw()["features.0.weight"].numpy().tobytes())
    content[place : place + 8] = struct.pack("<q", 2**50)
    path = tmp_path / "teacher.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="it is cut off"):
        read_teacher(path, CNN)


def test_a_tensor_outside_of_its_storage_is_refused(tmp_path: Path) -> None:
    state = draw()
    for size in ((40, 40), (10**9, 10**9)):
        wide = torch.empty(0).set_(state["classifier.weight"].untyped_storage(), 0, (10, 4), (4, 1))
        state["classifier.weight"] = wide
        content = saved(state)
        with zipfile.ZipFile(io.BytesIO(content)) as old:
            described = old.read("archive/data.pkl")
            entries = {n.partition("/")[2]: old.read(n) for n in old.namelist() if "/data/" in n}
        shape = b"K\nK\x04\x86"  # a tuple of 10 and 4
        assert described.count(shape) == 1
        numbers = b"".join(b"J" + struct.pack("<i", n) for n in size)
        path = tmp_path / "teacher.pth"
        path.write_bytes(archive(described.replace(shape, numbers + b"\x86"), **entries))
        with pytest.raises(InputError, match="a tensor is larger than its storage"):
            read_teacher(path, CNN)


def test_a_dry_run_names_the_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "checkpoint"
    words = "--dataset digits --teacher cnn4 --student cnn2 --dry-run"
    state = build(Architecture("cnn", "cnn4", 10, 1, 8), torch.Generator()).state_dict()
    torch.save({"model": state, "ema": dict(state)}, path)
    assert main([*words.split(), "--teacher-weights", str(path)]) == 0
    out = "".join(capsys.readouterr())
    assert f"--teacher-weights {path}: read model; ema would fit too" in out


def test_only_regular_files_are_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    locked = tmp_path / "gone" / "teacher.pt"
    for path, message in (
        (tmp_path / "pipe", "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path, "is a folder"),
        (locked, "can't be read (No such file or directory)"),
    ):
        words = ["--dataset", "digits", "--teacher-weights", str(path), "--dry-run"]
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--teacher-weights {path}: {message}" in line


def test_tensors_are_read_only_when_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pt"
    path.write_bytes(larger(saved({"model": draw(), "sparse": torch.eye(2).to_sparse()})))
    with open_checkpoint(path, "x") as checkpoint:
        assert isinstance(checkpoint.root, dict)
        stored = checkpoint.root["model"]["classifier.bias"]
        assert isinstance(stored, StoredTensor) and stored.shape == (10,)
        assert checkpoint.root["sparse"].kind == "sparse"


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, form: str, thorough: bool) -> None:
    content = FORMATS[form]({"module." + name: value for name, value in draw().items()})
    chance = random.Random(form)
    path = tmp_path / "teacher.pt"
    refused = 0
    for _ in range(2000 if thorough else 100):
        damaged = bytearray(content[: chance.choice((None, chance.randrange(len(content))))])
        for _ in range(chance.choice((1, 1, 3, 30))):
            at = chance.randrange(len(damaged) or 1)
            damaged[at : at + chance.choice((0, 1, 8))] = chance.randbytes(chance.choice((1, 8)))
        path.write_bytes(damaged)
        try:
            assert len(from_bytes(read_teacher(path, CNN).weights)) == len(draw())
        except InputError as error:
            refused += 1
            assert "\n" not in error.messages[0]
    assert refused


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.register_buffer("scale", torch.ones(1))


def test_own_networks_are_read_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``model`` and ``module`` in the names of a network are parts of them, no prefixes."""
    monkeypatch.setattr("dgkd_search.distillation.pretrained.build", lambda *_: Tiny())
    own = Architecture("mine", "tiny", 10, 1, 8, origin="nets", code="c" * 32)
    state = Tiny().state_dict()
    path = tmp_path / "teacher.pt"
    for prefix in ("", "module.", "model.", "module.model."):
        torch.save({"ema": {prefix + name: value for name, value in state.items()}}, path)
        found = from_bytes(read_teacher(path, own).weights)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], value) for name, value in state.items())
    torch.save({"model.1.weight": state["model.1.weight"]}, path)
    with pytest.raises(
        InputError, match=r"missing tensors: .*model\.1\.bias; give weights of tiny"
    ):
        read_teacher(path, own)
