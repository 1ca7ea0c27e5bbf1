"""Damage is found, entries in use are not freed, and interruptions do no harm."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.stores import (
    DAY,
    WEIGHTS,
    fill,
    key,
    logits,
    meta,
    outputs_of,
    paths,
    put_damaged,
    put_data,
    put_outputs,
    put_partial,
    put_stage,
    put_temporary,
    snapshot,
)

import dgkd_search.store.maintenance
from dgkd_search.data import PreparedData
from dgkd_search.errors import InputError
from dgkd_search.store.inventory import list_store
from dgkd_search.store.maintenance import FREEABLE, free_space, verify_store
from dgkd_search.store.store import Store
from dgkd_search.utils.files import remove_unless, size_of
from dgkd_search.utils.hashing import to_json

HELD = {  # kinds of entries that each choice frees
    "outputs": {"outputs"},
    "checkpoints": {"checkpoint"},
    "stages": {"stage", "outputs"},
    "data": {"data"},
    "damaged": {"damaged"},
    "unused": {"stage", "checkpoint", "outputs", "data", "damaged"},
    "all": {"stage", "checkpoint", "outputs", "data", "damaged"},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def kinds(store: Store) -> set[str]:
    return {entry.kind for entry in list_store(store).entries}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_sound_store_has_no_problems_and_stays_as_it_is(
    store: Store, digits: PreparedData
) -> None:
    fill(store, digits)
    (store.root / "stages" / "note").write_text("")
    before = snapshot(store.root)
    assert verify_store(store) == []
    assert snapshot(store.root) == before


DAMAGE: dict[str, Callable[[Store, PreparedData], tuple[Path, str]]] = {
    "stage": lambda s, d: (put_stage(s, "x"), "weights.safetensors"),
    "stage's description": lambda s, d: (put_stage(s, "x"), "stage.json"),
    "checkpoint": lambda s, d: (put_partial(s, "x"), "*.safetensors"),
    "checkpoint's description": lambda s, d: (put_partial(s, "x"), "checkpoint.json"),
    "outputs": lambda s, d: (put_outputs(s, "x"), "logits.npy"),
    "outputs' description": lambda s, d: (put_outputs(s, "x"), "outputs.json"),
    "data": lambda s, d: (put_data(s, d), "train_images.npy"),
    "data's description": lambda s, d: (put_data(s, d), "info.json"),
}


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "changed", "missing"])
@pytest.mark.parametrize("make", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_set_aside(
    store: Store,
    digits: PreparedData,
    make: Callable[[Store, PreparedData], tuple[Path, str]],
    damage: Callable[[Path], None],
) -> None:
    fill(store, digits)
    sound = {e.path for e in list_store(store).entries if e.kind != "damaged"}
    folder, name = make(store, digits)
    (file,) = folder.glob(name)
    if damage is Path.unlink or file.suffix != ".json":
        damage(file)
    else:
        file.write_bytes(file.read_bytes()[:-3])  # cuts more than white space
    if name == "checkpoint.json" and damage is Path.unlink:
        assert verify_store(store) == []  # as if stopped before the first checkpoint
        return
    (problem,) = verify_store(store)
    assert problem.startswith(f"{folder.name}: damaged (")
    assert len(problem.splitlines()) == 1
    assert not folder.exists()
    assert {e.path for e in list_store(store).entries if e.kind != "damaged"} == sound
    (moved,) = [path for path in paths(store, "damaged") if str(path) in problem]
    assert moved.name.startswith(folder.name)
    assert verify_store(store) == []


def test_statistics_that_are_not_those_of_the_pixels_are_damage(
    store: Store, digits: PreparedData
) -> None:
    info = put_data(store, digits) / "info.json"
    value = json.loads(info.read_bytes())
    value["mean"][0] += 1e-6
    info.write_bytes(to_json(value))
    (problem,) = verify_store(store)
    assert "info.json fails its checksum" in problem


def test_a_checkpoint_that_is_being_replaced_is_left_alone(store: Store) -> None:
    folder = put_partial(store, "x")
    (tensors,) = folder.glob("*.safetensors")
    tensors.unlink()  # as if removed between two reads
    with store.lock(key("x")):
        assert verify_store(store) == []
        assert folder.exists()
    assert len(verify_store(store)) == 1


def test_data_that_are_being_prepared_are_left_alone(store: Store, digits: PreparedData) -> None:
    folder = put_data(store, digits)
    (folder / "info.json").unlink()
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        assert verify_store(store) == []
        assert folder.exists()
    assert len(verify_store(store)) == 1


def test_an_error_of_the_system_is_no_damage(
    store: Store, digits: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_data(store, digits)
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "info.json":
            raise OSError(24, "too many open files", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match="too many"):
        verify_store(store)
    assert folder.exists()


@pytest.mark.parametrize("what", FREEABLE)
def test_what_nobody_uses_is_freed(store: Store, digits: PreparedData, what: str) -> None:
    fill(store, digits)
    (store.root / "notes.txt").write_text("mine")
    inventory = list_store(store)
    before = {entry.kind for entry in inventory.entries}
    free_bytes = size_of(store.root)
    freed = free_space(store, what)
    gone = HELD[what] | {"temporary"}
    assert kinds(store) == before - gone
    assert {entry.path for entry in freed.entries} == {e.path for e in inventory.of(*gone)}
    assert freed.kept_in_use == ()
    assert freed.bytes == sum(entry.size for entry in freed.entries)
    assert size_of(store.root) == free_bytes - freed.bytes
    assert (store.root / "notes.txt").read_text() == "mine"
    assert not list(store.root.rglob(".tmp-*"))
    again = free_space(store, what)
    assert (again.entries, again.bytes, again.kept_in_use) == ((), 0, ())


@pytest.mark.parametrize("kind", ["trial", "search"])
@pytest.mark.parametrize("what", FREEABLE)
def test_what_somebody_uses_is_never_freed(
    store: Store, digits: PreparedData, what: str, kind: str
) -> None:
    fill(store, digits, "used")
    fill(store, digits, "idle")
    with store.lease(kind) as lease:
        lease.add([key("used"), key("used-partial")])
        before = list_store(store)
        freed = free_space(store, what)
        after = list_store(store)
    mine = {key("used"), key("used-partial")}
    stays = {e.path for e in before.entries if e.key in mine or e.kind == "data"}
    assert stays <= {entry.path for entry in after.entries}
    gone = {e.path for e in before.entries if e.kind in HELD[what] | {"temporary"}} - stays
    assert {entry.path for entry in freed.entries} == gone
    assert {entry.path for entry in after.entries} == {e.path for e in before.entries} - gone
    # "unused" does not even consider recorded stages and their data.
    asked = set() if what == "unused" else HELD[what] - {"damaged"}
    assert {entry.kind for entry in freed.kept_in_use} == asked
    assert store.get(key("used")) is not None
    assert verify_store(store) == []


@pytest.mark.parametrize("what", FREEABLE)
def test_what_came_since_somebody_began_may_be_theirs(
    store: Store, digits: PreparedData, what: str
) -> None:
    with store.lease("trial") as lease:
        lease.add([key("another")])
        fill(store, digits, age=-1)
        before = paths(store)
        freed = free_space(store, what)
        assert {entry.kind for entry in freed.entries} <= {"damaged"}
        assert paths(store) == before - {entry.path for entry in freed.entries}
        assert {e.kind for e in freed.kept_in_use} == HELD[what] - {"damaged"}


def test_outputs_that_were_used_since_somebody_began_stay_with_their_stage(store: Store) -> None:
    stage, folder = put_stage(store, "x"), put_outputs(store, "x")
    with store.lease("trial") as lease:
        lease.add([key("y")])
        assert store.outputs.get(outputs_of("x")) is not None
        assert free_space(store, "all").entries == ()
    assert stage.exists()
    assert folder.exists()


def test_a_user_who_comes_meanwhile_is_heeded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"m{i}" for i in range(5)]
    for name in names:
        put_stage(store, name)
    with store.lease("trial") as lease:

        def come(path: Path, needed: Callable[[], bool]) -> int | None:
            lease.add(map(key, names))  # after the last check before the removal
            return remove_unless(path, needed)

        monkeypatch.setattr(dgkd_search.store.maintenance, "remove_unless", come)
        freed = free_space(store, "stages")
    assert (len(freed.entries), freed.bytes, len(freed.kept_in_use)) == (0, 0, 5)
    assert len(paths(store, "stage")) == 5
    assert all(store.get(key(name)) for name in names)
    assert not list(store.root.rglob(".tmp-*"))


def test_a_checkpoint_in_training_stays(store: Store) -> None:
    """Even without a record, because the process that trains a stage holds its lock."""
    put_partial(store, "trained")
    put_partial(store, "idle")
    with store.lock(key("trained")):
        for dry_run in (True, False):
            freed = free_space(store, "checkpoints", dry_run=dry_run)
            assert [entry.name for entry in freed.entries] == ["idle"]
            assert [entry.name for entry in freed.kept_in_use] == ["trained"]
    assert store.get_partial(key("trained")) is not None
    assert [entry.name for entry in free_space(store, "checkpoints").entries] == ["trained"]


def test_data_being_prepared_stay(store: Store, digits: PreparedData) -> None:
    folder = put_data(store, digits)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        assert len(free_space(store, "data").kept_in_use) == 1
    assert folder.exists()


def test_only_what_was_used_long_ago_is_freed(store: Store) -> None:
    for name, age in (("new", 1), ("old", 3), ("asked", 3)):
        put_stage(store, name, age * DAY)
    put_outputs(store, "asked", 0, DAY)
    put_outputs(store, "asked", 1, 3 * DAY)
    freed = free_space(store, "stages", 2 * DAY)
    assert [entry.name for entry in freed.entries] == ["old"]
    freed = free_space(store, "outputs", 2 * DAY)
    assert [entry.path.name for entry in freed.entries] == [outputs_of("asked", 1).key]
    assert len(paths(store, "stage")) == 2


def test_what_was_set_aside_is_as_old_as_that(store: Store) -> None:
    folder = put_stage(store, "x", 9 * DAY)
    (folder / "weights.safetensors").write_bytes(b"")
    os.utime(folder, (1, 1))
    assert len(verify_store(store)) == 1
    assert free_space(store, "damaged", DAY).entries == ()
    assert len(free_space(store, "damaged", 0.0).entries) == 1


def test_unused_is_what_no_recorded_search_used(store: Store, digits: PreparedData) -> None:
    data = put_data(store, digits, "used")
    other = put_data(store, digits, "unused")
    info = (other / "info.json").read_text()
    (other / "info.json").write_text(info.replace(digits.info.fingerprint, "0" * 32))
    fingerprint = digits.info.fingerprint
    stays = {put_stage(store, "a", data=fingerprint), put_outputs(store, "a")}
    stays |= {put_partial(store, "b"), data}
    goes = {put_stage(store, "c"), put_outputs(store, "c"), put_partial(store, "d"), other}
    goes |= {put_outputs(store, "gone"), put_damaged(store, "a2"), put_temporary(store, "a3")}
    goes |= {put_partial(store, "a")}  # its stage is finished
    with store.lease("search", "run") as lease:
        lease.add(map(key, ["a", "b", "gone"]))
    freed = free_space(store, "unused")
    assert {entry.path for entry in freed.entries} == goes
    assert paths(store) == stays


def test_temporaries_of_killed_processes_go_within_the_hour(store: Store) -> None:
    old, new = put_temporary(store, "old", 3700), put_temporary(store, "new", 3500)
    record = store.root / "users" / ".tmp-0123456789ab-x.json"
    record.write_bytes(b"{}")
    os.utime(record, (1, 1))
    freed = free_space(store, "outputs")
    assert {entry.path for entry in freed.entries} == {old, record}
    assert new.exists()
    # a slow writer is not dead: the time of its last write counts
    again = put_temporary(store, "old", 7200)
    os.utime(again / "weights.safetensors")
    assert free_space(store, "all").entries == ()


def test_temporaries_since_somebody_began_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 2 * DAY)
        lease = store.lease("trial")
        lease.add([key("x")])
    with lease:
        put_temporary(store, "theirs", DAY)
        older = put_temporary(store, "older", 3 * DAY)
        freed = free_space(store, "all")
        assert [entry.path for entry in freed.entries] == [older]
        assert freed.kept_in_use == ()


@pytest.mark.parametrize("what", FREEABLE)
def test_a_dry_run_says_what_would_go_and_removes_nothing(
    store: Store, digits: PreparedData, what: str
) -> None:
    fill(store, digits, "used")
    fill(store, digits, "idle")
    with store.lease("search", "ended") as lease:
        lease.add([key("nothing of this")])
    with store.lease("trial") as lease:
        lease.add([key("used"), key("used-partial")])
        before = snapshot(store.root)
        said = free_space(store, what, dry_run=True)
        assert snapshot(store.root) == before
        assert free_space(store, what) == said
    assert said.bytes > 0


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("what", FREEABLE)
def test_a_stop_between_the_name_and_the_content_leaves_a_sound_store(
    store: Store, digits: PreparedData, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    fill(store, digits)
    shutil.rmtree(next(iter(paths(store, "temporary"))))
    before = list_store(store)

    def stop(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(Killed):
            free_space(store, what)
    (left,) = list_store(store).of("temporary")
    gone = [entry for entry in before.entries if not entry.path.exists()]
    assert [left.path.name.split("-", 2)[2]] == [entry.path.name for entry in gone]
    assert left.size == gone[0].size
    # Readers find nothing or the complete entry, and can store it again.
    assert verify_store(store) == []
    put_stage(store, "resnet8")
    assert store.outputs.put(outputs_of("resnet8"), logits())
    assert store.get(key("resnet8")) is not None
    assert store.outputs.get(outputs_of("resnet8")) is not None
    assert all(note.startswith(key("resnet8-damaged")) for note in store.notes)
    # The next call removes the remains once they are old.
    for path in (left.path, *left.path.iterdir()) if left.path.is_dir() else (left.path,):
        os.utime(path, (1, 1))
    free_space(store, what)
    assert not left.path.exists()


def test_outputs_go_before_their_stage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_stage(store, "x")
    put_outputs(store, "x")
    put_outputs(store, "x", 1)
    order: list[str] = []

    def record(path: Path, needed: Callable[[], bool]) -> int | None:
        order.append(path.relative_to(store.root).parts[0])
        return remove_unless(path, needed)

    for what in ("stages", "all"):
        monkeypatch.setattr(dgkd_search.store.maintenance, "remove_unless", record)
        free_space(store, what)
        assert order == ["outputs", "outputs", "stages"]
        order.clear()
        put_stage(store, "x")
        put_outputs(store, "x")
        put_outputs(store, "x", 1)


def test_a_stage_that_was_freed_is_trained_and_kept_again(store: Store) -> None:
    put_stage(store, "x")
    free_space(store, "stages")
    assert key("x") not in store
    assert store.get(key("x")) is None
    assert store.notes == []
    store.put(key("x"), WEIGHTS, meta("x"))
    assert store.get(key("x")) is not None


def test_searches_of_which_nothing_is_left_are_forgotten(store: Store) -> None:
    put_stage(store, "a")
    put_partial(store, "b")
    put_outputs(store, "c")
    for run, used in (("one", "a"), ("two", "ab"), ("three", "c"), ("four", "x")):
        with store.lease("search", run) as lease:
            lease.add(map(key, used))
    with store.lease("search", "live") as lease:
        lease.add([key("x")])

        def names() -> set[str]:
            return {user.name for user in store.users()}

        free_space(store, "damaged", dry_run=True)
        assert names() == {"one", "two", "three", "four", "live"}
        free_space(store, "damaged")
        assert names() == {"one", "two", "three", "live"}
        free_space(store, "stages")
        assert names() == {"two", "three", "live"}
        free_space(store, "checkpoints")
        free_space(store, "outputs")
        assert names() == {"live"}


def test_an_unknown_word_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="free everything: unknown; choose from outputs,"):
        free_space(store, "everything")
