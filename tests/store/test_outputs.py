"""Stored outputs are returned bit by bit or not at all, and stay within their limit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from helpers.stores import DAY, key, logits, outputs_of, put_outputs

import dgkd_search.store.outputs
from dgkd_search.store.outputs import teacher_of
from dgkd_search.store.store import Store
from dgkd_search.utils.files import size_of, write_folder
from dgkd_search.utils.hashing import to_json


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def folder_of(store: Store, name: str, bank: int = 0) -> Path:
    wanted = outputs_of(name, bank).key
    return store.root / "outputs" / wanted[:2] / wanted


def limited(store: Store, arrays: float) -> Store:
    """Return the store with room for ``arrays`` arrays of ``logits``."""
    return Store(store.root, int(arrays * size_of(put_outputs(store, "sized"))))


def test_an_array_comes_back_as_it_was_put(store: Store) -> None:
    spec, array = outputs_of("resnet20", 3), logits(3)
    assert store.outputs.get(spec) is None
    assert store.outputs.put(spec, array)
    for reader in (store, Store(store.root)):
        found = reader.outputs.get(spec)
        assert found is not None
        assert found.dtype == np.float16
        assert found.tobytes() == array.tobytes()
        assert found.shape == array.shape
        assert reader.notes == []
    for other in (outputs_of("resnet20", 2), outputs_of("resnet14", 3)):
        assert store.outputs.get(other) is None


def test_arrays_are_kept_in_half_precision_whatever_their_layout(store: Store) -> None:
    wide = np.asfortranarray(np.arange(12.0).reshape(3, 4)) + 1e-4
    assert store.outputs.put(outputs_of("x"), wide)  # type: ignore[arg-type]
    found = store.outputs.get(outputs_of("x"))
    assert found is not None
    assert (found == wide.astype(np.float16)).all()


def test_an_array_is_mapped_and_stays_readable_when_it_is_removed(store: Store) -> None:
    array = logits(0, 3000)
    assert store.outputs.put(outputs_of("resnet20"), array)
    found = store.outputs.get(outputs_of("resnet20"))
    assert found is not None and isinstance(found.base, np.memmap)
    full = limited(store, 1.5)
    assert full.outputs.put(outputs_of("resnet8"), logits(1))
    assert not folder_of(store, "resnet20").exists()
    assert (found == array).all()
    found[:] = 0  # copy-on-write: the file does not change
    assert store.outputs.get(outputs_of("resnet20")) is None


def test_what_is_put_first_stays(store: Store) -> None:
    assert store.outputs.put(outputs_of("x"), logits(1))
    assert store.outputs.put(outputs_of("x"), logits(2))
    found = store.outputs.get(outputs_of("x"))
    assert found is not None
    assert (found == logits(1)).all()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


other = {"spec": outputs_of("resnet20", 9).to_dict(), "sha256": "0" * 64, "computed": 1}
DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "array cut": ("logits.npy", cut),
    "array flipped": ("logits.npy", flip),
    "array empty": ("logits.npy", write(b"")),
    "array missing": ("logits.npy", Path.unlink),
    "array a folder": ("logits.npy", to_folder),
    "json cut": ("outputs.json", lambda path: path.write_bytes(path.read_bytes()[:-3])),
    "json empty": ("outputs.json", write(b"")),
    "json missing": ("outputs.json", Path.unlink),
    "json a folder": ("outputs.json", to_folder),
    "json of others": ("outputs.json", write(to_json(other))),
    "json a list": ("outputs.json", write(b"[]")),
    "json null": ("outputs.json", write(b"null")),
    "json without spec": ("outputs.json", write(b"{}")),
    "json too deep": ("outputs.json", write(b"[" * 100_000)),
    "json not finite": ("outputs.json", write(b'{"spec": NaN}')),
    "json binary": ("outputs.json", write(bytes(range(256)))),
}


@pytest.mark.parametrize("verify", [False, True], ids=["get", "verify"])
@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_set_aside(
    store: Store, name: str, damage: Callable[[Path], object], verify: bool
) -> None:
    spec, folder = outputs_of("resnet20"), put_outputs(store, "resnet20")
    damage(folder / name)
    left = sorted(path.name for path in folder.iterdir())
    if verify:
        assert not store.outputs.verify(folder)
    else:
        assert store.outputs.get(spec) is None
    assert not folder.exists()
    (moved,) = (store.root / "damaged").iterdir()
    assert sorted(path.name for path in moved.iterdir()) == left
    (note,) = store.notes
    assert note.startswith(f"{spec.key}: damaged (")
    assert len(note.splitlines()) == 1
    assert store.outputs.get(spec) is None
    assert store.outputs.put(spec, logits())  # computed again
    assert store.outputs.get(spec) is not None
    assert len(store.notes) == 1


def test_a_file_in_the_place_of_outputs_is_set_aside(store: Store) -> None:
    folder = folder_of(store, "x")
    folder.parent.mkdir()
    folder.write_text("here")
    assert store.outputs.get(outputs_of("x")) is None
    assert len(store.notes) == 1
    assert store.outputs.put(outputs_of("x"), logits())


def test_what_appears_or_goes_between_two_looks_is_no_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, read_bytes = outputs_of("x"), Path.read_bytes

    def appear(path: Path) -> NoReturn:
        monkeypatch.undo()  # first look: too early, then its writer finishes
        put_outputs(store, "x")
        raise FileNotFoundError(path)

    monkeypatch.setattr("dgkd_search.store.outputs.read_checksummed_json", appear)
    assert store.outputs.get(spec) is not None

    def go(self: Path) -> bytes:
        monkeypatch.undo()
        text = read_bytes(self)
        full = Store(store.root, int(1.5 * size_of(folder_of(store, "x"))))
        assert full.outputs.put(outputs_of("y"), logits())
        return text

    monkeypatch.setattr(Path, "read_bytes", go)
    assert store.outputs.get(spec) is None
    assert store.notes == []


def test_damage_at_the_second_look_is_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def appear(path: Path) -> NoReturn:
        monkeypatch.undo()
        flip(put_outputs(store, "x") / "logits.npy")
        raise FileNotFoundError(path)

    monkeypatch.setattr("dgkd_search.store.outputs.read_checksummed_json", appear)
    assert store.outputs.get(outputs_of("x")) is None
    assert len(store.notes) == 1


def test_an_error_of_the_system_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_outputs(store, "x")

    def refuse(self: Path, *args: object) -> bytes:
        raise PermissionError(13, "no", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        store.outputs.get(outputs_of("x"))
    monkeypatch.undo()
    assert store.outputs.get(outputs_of("x")) is not None
    assert store.notes == []


def test_the_oldest_outputs_make_room(store: Store) -> None:
    full = limited(store, 3.5)  # one array is stored
    for bank, age in ((0, 3), (1, 2)):
        put_outputs(full, "resnet20", bank, age * DAY)
    assert full.outputs.put(outputs_of("resnet20", 2), logits())
    left = {folder_of(store, "resnet20", bank).exists(): bank for bank in (0, 1)}
    assert left == {False: 0, True: 1}
    assert size_of(store.root / "outputs") <= (full.outputs.limit or 0)
    assert full.notes == []


def test_a_use_keeps_outputs_longer(store: Store) -> None:
    full = limited(store, 3.5)
    for bank, age in ((0, 3), (1, 2)):
        put_outputs(full, "resnet20", bank, age * DAY)
    assert full.outputs.get(outputs_of("resnet20", 0)) is not None
    assert time.time() - folder_of(store, "resnet20", 0).stat().st_mtime < 60
    assert full.outputs.put(outputs_of("resnet20", 2), logits())
    assert folder_of(store, "resnet20", 0).exists()
    assert not folder_of(store, "resnet20", 1).exists()


def test_verifying_is_no_use(store: Store) -> None:
    folder = put_outputs(store, "resnet20", age=5 * DAY)
    assert store.outputs.verify(folder)
    assert time.time() - folder.stat().st_mtime > 4 * DAY
    assert not store.outputs.verify(folder_of(store, "resnet14"))  # removed, which is not damage
    assert store.notes == []


def test_what_running_trials_need_stays(store: Store) -> None:
    full = limited(store, 2.5)
    put_outputs(full, "needed", age=9 * DAY)
    with store.lease("trial") as lease:
        lease.add([key("needed")])
        assert full.outputs.put(outputs_of("resnet8", 0), logits())
        assert folder_of(store, "needed").exists()
        assert not folder_of(store, "sized").exists()
    assert full.outputs.put(outputs_of("resnet8", 1), logits())
    assert not folder_of(store, "needed").exists()


def test_a_search_alone_holds_no_outputs(store: Store) -> None:
    """Only trials do, because a search's record names every stage that it ever used."""
    full = limited(store, 1.5)
    with store.lease("search", "run") as lease:
        lease.add([key("sized")])
        assert full.outputs.put(outputs_of("resnet8"), logits())
    assert not folder_of(store, "sized").exists()


def test_without_room_nothing_is_put_and_nothing_removed(store: Store) -> None:
    full = limited(store, 2.5)
    put_outputs(full, "needed")
    with store.lease("trial") as lease:
        lease.add([key("needed")])
        assert not full.outputs.put(outputs_of("large"), logits(0, 60))
    assert not full.outputs.put(outputs_of("larger"), logits(0, 10_000))
    assert {file.teacher for file in full.outputs.files()} == {key("needed"), key("sized")}
    assert full.outputs.get(outputs_of("large")) is None
    assert not list(store.root.rglob(".tmp-*"))


def test_files_tell_their_source_and_last_use_the_oldest_first(store: Store) -> None:
    for age in (1, 3, 2):
        put_outputs(store, f"m{age}", age=age * DAY)
    (folder_of(store, "m2") / "outputs.json").write_bytes(b"[" * 100_000)
    files = store.outputs.files()
    assert [file.teacher for file in files] == [key("m3"), "", key("m1")]
    assert [file.path for file in files] == [folder_of(store, f"m{age}") for age in (3, 2, 1)]
    assert teacher_of(folder_of(store, "m3")) == key("m3")
    assert all(file.size == size_of(file.path) for file in files)


def test_what_somebody_writes_is_neither_counted_nor_removed(store: Store) -> None:
    full = limited(store, 1.5)
    writing = folder_of(store, "sized").parent / f".tmp-0123456789ab-{outputs_of('z').key}"
    writing.mkdir()
    (writing / "logits.npy").write_bytes(bytes(10_000))
    os.utime(writing, (1, 1))
    assert full.outputs.put(outputs_of("resnet8"), logits())
    assert writing.exists()


WRITER = """
import sys
import numpy as np
from helpers.stores import logits, outputs_of
from dgkd_search.store.store import Store
store = Store(sys.argv[1], int(sys.argv[2]))
for bank in range(30):
    store.outputs.put(outputs_of("shared", bank), logits(bank))
    store.outputs.put(outputs_of(sys.argv[3], bank), logits(bank))
    for known in range(bank + 1):
        found = store.outputs.get(outputs_of("shared", known))
        assert found is None or (found == logits(known)).all()
print(*store.notes, sep="\\n", end="")
"""


def test_two_processes_share_outputs_and_their_limit(store: Store) -> None:
    limit = limited(store, 8.5).outputs.limit
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store.root, str(limit), name],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert (writer.returncode, out, err) == (0, "", "")
    assert size_of(store.root / "outputs") <= (limit or 0)
    assert len(store.outputs.files()) == 8
    assert not (store.root / "damaged").exists()


def test_one_process_at_a_time_computes_an_array(store: Store) -> None:
    lock, same = (s.outputs.lock(outputs_of("x")) for s in (store, Store(store.root)))
    with lock:
        with pytest.raises(TimeoutError):
            same.acquire()
        with store.outputs.lock(outputs_of("x", 1)):
            pass  # other outputs are not locked
    with same:
        pass


def test_on_a_full_disk_idle_arrays_go_and_needed_ones_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("idle", "needed"):
        put_outputs(store, name)
    tried: list[Path] = []

    def full(path: Path, files: Mapping[str, bytes]) -> bool:
        tried.append(path)
        if folder_of(store, "idle").exists() or len(tried) > 2:
            raise OSError(errno.ENOSPC, "no space left on device", str(path))
        return write_folder(path, files)

    monkeypatch.setattr(dgkd_search.store.outputs, "write_folder", full)
    with store.lease("trial") as lease:
        lease.add([key("needed")])
        assert store.outputs.put(outputs_of("new"), logits())
        assert store.outputs.get(outputs_of("new")) is not None
        assert store.outputs.get(outputs_of("idle")) is None
        assert not store.outputs.put(outputs_of("one more"), logits())  # no room, but no error
        assert store.outputs.get(outputs_of("needed")) is not None


def test_other_errors_of_the_disk_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, files: Mapping[str, bytes]) -> bool:
        raise OSError(errno.EIO, "input/output error", str(path))

    monkeypatch.setattr(dgkd_search.store.outputs, "write_folder", broken)
    with pytest.raises(OSError, match="input/output"):
        store.outputs.put(outputs_of("new"), logits())
