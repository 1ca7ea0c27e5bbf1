from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

from dgkd_search.errors import InputError
from dgkd_search.store.store import STORE_FORMAT, Store
from dgkd_search.utils.hashing import sha256, to_json

KEY = "0123456789abcdef0123456789abcdef"
WEIGHTS = bytes(range(256))
META = {"spec": {"lr": 0.1, "name": "resnet8"}, "rows": [{"epoch": 1, "loss": 1.25e-05}]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def stage_folder(store: Store) -> Path:
    return store.root / "stages" / KEY[:2] / KEY


def partial_folder(store: Store) -> Path:
    return store.root / "partial" / KEY


def files_under(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def expect_damage(store: Store, read: Callable[[], object], folder: Path, content: object) -> None:
    """Check that nothing is returned, the entry is in damaged/, and one line says so."""
    assert read() is None
    assert not folder.exists()
    (moved,) = (store.root / "damaged").iterdir()
    assert files_under(moved) == content
    (note,) = store.notes
    assert note.startswith(f"{KEY}: damaged (")
    assert str(moved) in note
    assert "\n" not in note
    assert read() is None
    assert len(store.notes) == 1


def test_a_stage_comes_back_as_it_was_put(store: Store) -> None:
    assert KEY not in store
    assert store.get(KEY) is None
    store.put(KEY, WEIGHTS, META)
    for reader in (store, Store(str(store.root))):
        entry = reader.get(KEY)
        assert entry is not None
        assert (entry.key, entry.tensors) == (KEY, WEIGHTS)
        assert {name: entry.meta[name] for name in META} == META
        assert KEY in reader
        assert reader.notes == []
    assert store.get(KEY[::-1]) is None


def test_what_is_put_first_stays(store: Store) -> None:
    store.put(KEY, WEIGHTS, META)
    store.put(KEY, b"other", {"rows": []})
    entry = store.get(KEY)
    assert entry is not None
    assert entry.tensors == WEIGHTS
    assert [p.name for p in stage_folder(store).parent.iterdir()] == [KEY]  # no temporary files


def test_a_checkpoint_is_replaced_and_dropped_with_the_finished_stage(store: Store) -> None:
    assert store.get_partial(KEY) is None
    for epoch in (1, 2, 3):
        store.put_partial(KEY, bytes([epoch]), {"rows": [epoch]})
        entry = store.get_partial(KEY)
        assert entry is not None
        assert (entry.tensors, entry.meta["rows"]) == (bytes([epoch]), [epoch])
        assert len(list(partial_folder(store).iterdir())) == 2
    assert KEY not in store
    store.put(KEY, WEIGHTS, META)
    assert not partial_folder(store).exists()


def test_a_stop_between_checkpoint_and_its_description_keeps_the_older_one(store: Store) -> None:
    store.put_partial(KEY, b"one", {"rows": [1]})
    (partial_folder(store) / f"{sha256(b'two')}.safetensors").write_bytes(b"two")
    entry = store.get_partial(KEY)
    assert entry is not None
    assert entry.tensors == b"one"
    # ... and before the first description there is no checkpoint
    other = KEY[::-1]
    (store.root / "partial" / other).mkdir()
    (store.root / "partial" / other / f"{sha256(b'two')}.safetensors").write_bytes(b"two")
    assert store.get_partial(other) is None
    assert store.notes == []


def sealed(value: dict[str, Any]) -> bytes:
    """Return JSON with a correct checksum."""
    return to_json(value | {"checksum": sha256(to_json(value))})


FOREIGN = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "no checksum": b"{}",
    "wrong checksum": b'{"checksum": 3}',
    "not finite": b'{"checksum": "", "rows": [NaN, 1e999]}',
    "sealed but of nobody": sealed({}),
    "sealed for another key": sealed({"key": KEY[::-1], "tensors": sha256(WEIGHTS)}),
    "sealed without weights": sealed({"key": KEY}),
    "sealed with odd weights": sealed({"key": KEY, "tensors": [1]}),
    "too deep": b"[" * 100_000,
    "too long a number": b"1" * 10_000,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_description_is_set_aside(store: Store, text: bytes) -> None:
    store.put(KEY, WEIGHTS, META)
    (stage_folder(store) / "stage.json").write_bytes(text)
    content = {"weights.safetensors": WEIGHTS, "stage.json": text}
    expect_damage(store, lambda: store.get(KEY), stage_folder(store), content)
    store.put(KEY, WEIGHTS, META)  # stored again
    assert store.get(KEY) is not None


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_checkpoint_description_is_set_aside(store: Store, text: bytes) -> None:
    store.put_partial(KEY, WEIGHTS, META)
    (partial_folder(store) / "checkpoint.json").write_bytes(text)
    content = {f"{sha256(WEIGHTS)}.safetensors": WEIGHTS, "checkpoint.json": text}
    expect_damage(store, lambda: store.get_partial(KEY), partial_folder(store), content)


@pytest.mark.parametrize("name", ["weights.safetensors", "stage.json"])
@pytest.mark.parametrize("kind", ["missing", "a folder"])
def test_a_stage_without_one_of_its_files_is_set_aside(store: Store, name: str, kind: str) -> None:
    store.put(KEY, WEIGHTS, META)
    (stage_folder(store) / name).unlink()
    if kind == "a folder":
        (stage_folder(store) / name).mkdir()
    left = files_under(stage_folder(store))
    expect_damage(store, lambda: store.get(KEY), stage_folder(store), left)


def test_a_file_in_the_place_of_a_stage_is_set_aside(store: Store) -> None:
    stage_folder(store).parent.mkdir()
    stage_folder(store).write_text("here")
    assert store.get(KEY) is None
    assert len(store.notes) == 1
    store.put(KEY, WEIGHTS, META)
    assert store.get(KEY) is not None


def test_a_stage_that_appears_between_two_looks_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(path: Path) -> NoReturn:
        monkeypatch.undo()  # first look: too early, then its writer finishes
        store.put(KEY, WEIGHTS, META)
        raise FileNotFoundError(errno.ENOENT, "not yet", str(path))

    monkeypatch.setattr("dgkd_search.store.store.read_checksummed_json", look)
    entry = store.get(KEY)
    assert entry is not None
    assert entry.tensors == WEIGHTS
    assert store.notes == []


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_an_error_of_the_system_is_no_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int, suffix: str
) -> None:
    store.put_partial(KEY, WEIGHTS, META)
    partial = files_under(partial_folder(store))
    store.put(KEY, WEIGHTS, META)
    store.put_partial(KEY, WEIGHTS, META)
    read_bytes = Path.read_bytes

    def read(self: Path) -> bytes:
        if self.suffix == suffix:
            raise OSError(code, os.strerror(code), str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    for get in (store.get, store.get_partial):
        with pytest.raises(OSError, match=os.strerror(code)):
            get(KEY)
    monkeypatch.undo()
    assert store.notes == []
    assert store.get(KEY) is not None
    assert files_under(partial_folder(store)) == partial


def test_a_checkpoint_without_its_tensors_is_set_aside(store: Store) -> None:
    store.put_partial(KEY, WEIGHTS, META)
    (partial_folder(store) / f"{sha256(WEIGHTS)}.safetensors").unlink()
    left = files_under(partial_folder(store))
    expect_damage(store, lambda: store.get_partial(KEY), partial_folder(store), left)


@given(
    partial=st.booleans(),
    description=st.booleans(),
    place=st.integers(0, 10_000),
    flips=st.integers(0, 255),
)
@settings(max_examples=150, deadline=None)
def test_no_damaged_byte_and_no_cut_goes_unnoticed(
    partial: bool, description: bool, place: int, flips: int
) -> None:
    """The result is what was put, or None. Without flips, the file is cut instead."""
    with tempfile.TemporaryDirectory() as root:
        store = Store(root)
        (store.put_partial if partial else store.put)(KEY, WEIGHTS, META)
        read = store.get_partial if partial else store.get
        whole = read(KEY)
        folder = partial_folder(store) if partial else stage_folder(store)
        (file,) = folder.glob("*.json" if description else "*.safetensors")
        content = file.read_bytes()
        place %= len(content)
        rest = bytes([content[place] ^ flips]) + content[place + 1 :] if flips else b""
        file.write_bytes(content[:place] + rest)
        got = read(KEY)
        if got is None:
            assert len(store.notes) == 1
        else:  # white space, or 1E-05 instead of 1e-05: the same value
            assert description
            assert got == whole


@pytest.mark.parametrize("path", ["../../../outside", "../" * 20 + "etc/passwd", "/etc/passwd"])
def test_a_checkpoint_never_leads_out_of_its_folder(
    store: Store, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (store.root.parent / "outside.safetensors").write_bytes(WEIGHTS)
    store.put_partial(KEY, WEIGHTS, META)
    text = sealed({"format": STORE_FORMAT, "key": KEY, "tensors": path, **META})
    (partial_folder(store) / "checkpoint.json").write_bytes(text)
    opened: list[Path] = []
    read_bytes = Path.read_bytes

    def opening(path: Path) -> bytes:
        opened.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", opening)
    assert store.get_partial(KEY) is None
    assert opened == [partial_folder(store) / "checkpoint.json"]
    assert len(store.notes) == 1


@pytest.mark.parametrize("text", ["{}", "[]", "", "\x00"])
def test_a_damaged_mark_is_made_again_where_the_entries_are_ours(store: Store, text: str) -> None:
    store.put(KEY, b"weights", {"rows": []})
    (store.root / "format.json").write_text(text)
    again = Store(store.root)
    assert again.get(KEY) is not None
    assert json.loads((store.root / "format.json").read_bytes()) == {"format": STORE_FORMAT}
    (note,) = again.notes
    assert note.startswith("format.json: damaged (it is not readable); moved to ")
    entry = next((store.root / "stages").glob("*/*/stage.json"))
    entry.write_text('{"format": 2}')
    (store.root / "format.json").write_text(text)
    with pytest.raises(InputError, match="its format is 2, this version reads 1"):
        Store(store.root)


@pytest.mark.parametrize("text", ['{"format": 2}', '{"format": "1"}'])
def test_a_store_of_another_format_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(InputError) as refusal:
        Store(tmp_path)
    assert "\n" not in str(refusal.value)
    assert "choose another folder with --store" in str(refusal.value)
    assert os.listdir(tmp_path) == ["format.json"]  # noqa: PTH208
    assert (tmp_path / "format.json").read_text() == text


def test_a_store_says_its_format_and_opens_again(store: Store) -> None:
    assert json.loads((store.root / "format.json").read_bytes()) == {"format": STORE_FORMAT}
    assert Store(store.root).data == store.root / "data"


def test_a_store_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(InputError, match=r"^store .*/file.*: can't be written \(.*\); choose"):
            Store(path)


HOLDER = """
import sys, time
from dgkd_search.store.store import Store
store = Store(sys.argv[1])
lock = store.lock(sys.argv[2])
lock.acquire()
loaded = {"torch", "ray", "optuna"} & set(sys.modules)
print("held", *sorted(loaded), flush=True)
time.sleep(60)
"""


def test_a_lock_excludes_other_processes_until_its_holder_dies(store: Store) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.root, KEY], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        # the store imports neither torch nor Ray nor Optuna
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout):
            store.lock(KEY).acquire()
        with store.lock(KEY[::-1]):
            pass  # other stages are not locked
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        began = time.monotonic()
        with store.lock(KEY).acquire(timeout=5):
            assert time.monotonic() - began < 2
    finally:
        holder.kill()
        holder.communicate()


def test_a_lock_excludes_a_second_holder_in_one_process(store: Store) -> None:
    with store.lock(KEY), pytest.raises(TimeoutError):
        store.lock(KEY).acquire()
    with store.lock(KEY):
        pass


def test_a_store_can_be_moved(store: Store, tmp_path: Path) -> None:
    store.put(KEY, WEIGHTS, META)
    shutil.move(store.root, tmp_path / "elsewhere")
    assert Store(tmp_path / "elsewhere").get(KEY) is not None
