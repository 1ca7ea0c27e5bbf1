"""No link in a store leads a reader, a writer or a removal out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.stores import (
    WEIGHTS,
    fill,
    key,
    logits,
    meta,
    outputs_of,
    put_outputs,
    put_partial,
    put_stage,
    snapshot,
)

from dgkd_search.data import PreparedData
from dgkd_search.errors import InputError
from dgkd_search.store.inventory import list_store
from dgkd_search.store.maintenance import FREEABLE, free_space, verify_store
from dgkd_search.store.store import Store
from dgkd_search.utils.files import quarantine
from dgkd_search.utils.links import children


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Another user's folder, with files named like those of a store."""
    home = tmp_path / "home"
    for name in (
        "thesis/chapter",
        "weights.safetensors",
        "stage.json",
        "checkpoint.json",
        "a.json",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(WEIGHTS)
    return home


def link(path: Path, to: Path) -> None:
    """Put a link in the place of a file or folder, which is moved out of the store."""
    if path.exists():
        path.rename(to.parent / f"was-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


FOLDERS = ("stages", "partial", "outputs", "users", "locks", "data", "damaged", "data/damaged")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_store_whose_folder_is_a_link_is_refused(store: Store, home: Path, name: str) -> None:
    before = snapshot(home)
    link(store.root / name, home)
    with pytest.raises(InputError, match="is a link") as error:
        Store(store.root)
    assert str(store.root / name) in str(error.value)
    # A store that has been open since before the link was made.
    for choice in FREEABLE:
        free_space(store, choice)
    if name == "damaged":
        put_stage(store, "x")
        (store.root / "stages" / key("x")[:2] / key("x") / "stage.json").write_bytes(b"{")
        with pytest.raises(InputError, match="is a link"):
            store.get(key("x"))
    assert snapshot(home) == before


Use = Callable[[Store], object]
PARTS: dict[str, tuple[str, str, Use]] = {
    "stage is read": ("stages", key("x"), lambda s: s.get(key("x"))),
    "stage is described": ("stages", key("x"), lambda s: s.meta(key("x"))),
    "stage is stored": ("stages", key("x"), lambda s: s.put(key("x"), WEIGHTS, meta("x"))),
    "outputs are read": ("outputs", outputs_of("x").key, lambda s: s.outputs.get(outputs_of("x"))),
    "outputs are stored": (
        "outputs",
        outputs_of("x").key,
        lambda s: s.outputs.put(outputs_of("x"), logits()),
    ),
}


@pytest.mark.parametrize(("folder", "name", "use"), PARTS.values(), ids=PARTS)
def test_a_linked_part_of_a_folder_is_refused_where_it_is_used(
    store: Store, home: Path, folder: str, name: str, use: Use
) -> None:
    before = snapshot(home)
    link(store.root / folder / name[:2], home)
    with pytest.raises(InputError, match="is a link"):
        use(store)
    for choice in FREEABLE:
        free_space(store, choice)
    verify_store(store)
    assert snapshot(home) == before


def test_the_lock_of_a_dataset_is_no_link(store: Store, home: Path) -> None:
    (store.data / key("d")).mkdir()
    link(store.data / f"{key('d')}.lock", home / "lock")
    with pytest.raises(InputError, match="is a link"):
        verify_store(store)
    assert not (home / "lock").exists()


def test_room_for_outputs_is_not_made_behind_a_link(tmp_path: Path, home: Path) -> None:
    store = Store(tmp_path / "store", outputs_limit=2000)
    link(store.root / "outputs" / "00", home)
    before = snapshot(home)
    for bank in range(8):
        spec = outputs_of("x", bank)
        if not spec.key.startswith("00"):
            store.outputs.put(spec, logits(bank))
    assert sum(file.size for file in store.outputs.files()) <= 2000
    assert snapshot(home) == before


ENTRIES: dict[str, tuple[Callable[[Store], Path], Use]] = {
    "stage": (lambda s: put_stage(s, "x"), lambda s: s.get(key("x"))),
    "checkpoint": (lambda s: put_partial(s, "x"), lambda s: s.get_partial(key("x"))),
    "outputs": (lambda s: put_outputs(s, "x"), lambda s: s.outputs.get(outputs_of("x"))),
}


@pytest.mark.parametrize(("make", "read"), ENTRIES.values(), ids=ENTRIES)
def test_a_link_in_the_place_of_an_entry_is_set_aside(
    store: Store, home: Path, make: Callable[[Store], Path], read: Use
) -> None:
    entry = make(store)
    sound = entry.parent.parent / "elsewhere"
    entry.rename(sound)  # even a sound entry is not read through a link
    entry.symlink_to(sound)
    before = snapshot(sound)
    assert read(store) is None
    assert not entry.is_symlink()
    (note,) = store.notes
    assert "link" in note
    (moved,) = (store.root / "damaged").iterdir()
    assert moved.is_symlink()
    free_space(store, "damaged")
    assert not moved.is_symlink()
    assert snapshot(sound) == before


@pytest.mark.parametrize(("make", "read"), ENTRIES.values(), ids=ENTRIES)
def test_a_link_in_the_place_of_a_file_is_set_aside(
    store: Store, home: Path, make: Callable[[Store], Path], read: Use
) -> None:
    for name in [path.name for path in make(store).iterdir()]:
        folder = make(store)
        content = (folder / name).read_bytes()
        (home / "same").write_bytes(content)
        link(folder / name, home / "same")
        assert read(store) is None, name
        assert not folder.exists()
        assert (home / "same").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "use"),
    [
        (key("x"), lambda s: s.lock(key("x"))),
        (outputs_of("x").key, lambda s: s.outputs.lock(outputs_of("x"))),
        ("outputs", lambda s: s.outputs.put(outputs_of("x"), logits())),
    ],
)
def test_a_lock_that_is_a_link_is_refused(tmp_path: Path, home: Path, name: str, use: Use) -> None:
    store = Store(tmp_path / "store", outputs_limit=10_000)
    link(store.root / "locks" / f"{name}.lock", home / "stage.json")
    before = snapshot(home)
    with pytest.raises(InputError, match="is a link"):
        use(store)
    assert snapshot(home) == before


def test_a_checkpoint_is_not_written_through_a_link(store: Store, home: Path) -> None:
    before = snapshot(home)
    link(store.root / "partial" / key("x"), home)
    store.put_partial(key("x"), WEIGHTS, meta("x"))
    entry = store.get_partial(key("x"))
    assert entry is not None
    assert entry.tensors == WEIGHTS
    assert snapshot(home) == before


def test_records_of_users_are_not_read_through_links(store: Store, home: Path) -> None:
    with store.lease("search", "mine") as lease:
        lease.add([key("x")])
        (record,) = (store.root / "users").glob("*.json")
        (home / "record").write_bytes(record.read_bytes())
        record.unlink()
        record.symlink_to(home / "record")
        assert store.users() == []
        lease.add([key("y")])  # replaces the link
        assert not record.is_symlink()
        assert len(store.users()) == 1


def test_records_in_a_linked_folder_stay(tmp_path: Path) -> None:
    """Another store's records look like our own, and those of its ended trials would be removed."""
    ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    lease = theirs.lease("trial").__enter__()
    lease.add([key("x")])
    lease._lock.release()  # as if its process had died
    before = snapshot(theirs.root / "users")
    (ours.root / "users").rmdir()
    (ours.root / "users").symlink_to(theirs.root / "users")
    assert ours.users() == []
    free_space(ours, "all")
    assert snapshot(theirs.root / "users") == before
    assert len(list((theirs.root / "users").iterdir())) == 2


@pytest.mark.parametrize("choice", FREEABLE)
def test_nothing_outside_is_freed_wherever_links_lie(
    store: Store, home: Path, digits: PreparedData, choice: str
) -> None:
    fill(store, digits)
    for folder in [path for path in store.root.rglob("*") if path.is_dir()]:
        (folder / "a-link").symlink_to(home)
        (folder / f".tmp-0123456789ab-{key('x')}").symlink_to(home)
    for path in (store.root / "stages" / "ff", store.root / "stages" / "fe" / ("fe" * 16)):
        link(path, home)
    before = snapshot(home)
    free_space(store, choice)
    verify_store(store)
    list_store(store)
    assert snapshot(home) == before


def test_damage_is_not_moved_through_a_link(tmp_path: Path, home: Path) -> None:
    (tmp_path / "bad").write_bytes(b"")
    (tmp_path / "damaged").symlink_to(home)
    with pytest.raises(InputError, match="is a link"):
        quarantine(tmp_path / "bad", tmp_path / "damaged")
    assert (tmp_path / "bad").exists()
    assert children(tmp_path / "damaged") == []
