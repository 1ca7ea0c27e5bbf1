"""Listing of stores with any content."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import (
    DAY,
    WEIGHTS,
    fill,
    key,
    meta,
    outputs_of,
    paths,
    put_data,
    put_outputs,
    put_partial,
    put_stage,
    snapshot,
)

from dgkd_search.data import PreparedData
from dgkd_search.store.inventory import ENTRY_KINDS, Entry, list_store
from dgkd_search.store.store import Store
from dgkd_search.utils.files import size_of
from dgkd_search.utils.hashing import sha256, to_json


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def only(store: Store, kind: str) -> Entry:
    (entry,) = list_store(store).of(kind)
    return entry


def test_a_new_store_is_empty(store: Store) -> None:
    inventory = list_store(store)
    assert (inventory.entries, inventory.users) == ((), ())
    assert (inventory.outputs(), inventory.datasets()) == ({}, {})


def test_everything_is_listed_with_its_size(store: Store, digits: PreparedData) -> None:
    fill(store, digits)
    inventory = list_store(store)
    counts = {kind: len(inventory.of(kind)) for kind in ENTRY_KINDS}
    assert counts == dict.fromkeys(ENTRY_KINDS, 1) | {"outputs": 2, "unknown": 0}
    assert [entry.kind for entry in inventory.entries] == sorted(
        (entry.kind for entry in inventory.entries), key=ENTRY_KINDS.index
    )
    for entry in inventory.entries:
        files = [path for path in entry.path.rglob("*") if path.is_file()]
        assert entry.size == sum(path.stat().st_size for path in files) > 0
    # nothing is counted twice, and only records and locks are left out
    assert sum(entry.size for entry in inventory.entries) == size_of(store.root) - len(
        to_json({"format": 1})
    )


def test_a_stage_says_what_it_is(store: Store, digits: PreparedData) -> None:
    put_stage(store, "resnet20", 2 * DAY, data="f" * 32, accuracy=61.25, epochs=3)
    stage = only(store, "stage")
    assert (stage.name, stage.family, stage.data) == ("resnet20", "resnet", "f" * 32)
    assert (stage.accuracy, stage.epochs, stage.teachers) == (61.25, 3, 1)
    assert stage.key == key("resnet20") == stage.path.name
    assert time.time() - stage.used == pytest.approx(2 * DAY, abs=60)
    assert stage.searches == ()


def test_an_unfinished_stage_says_how_far_it_is(store: Store) -> None:
    put_partial(store, "resnet14", 3 * DAY, accuracy=40.0, epochs=5)
    checkpoint = only(store, "checkpoint")
    assert (checkpoint.name, checkpoint.accuracy, checkpoint.epochs) == ("resnet14", 40.0, 5)
    assert time.time() - checkpoint.used == pytest.approx(3 * DAY, abs=60)


def test_a_stage_that_was_stopped_before_its_first_checkpoint_is_an_unfinished_one(
    store: Store,
) -> None:
    folder = store.root / "partial" / key("resnet14")
    folder.mkdir()
    (folder / f"{sha256(WEIGHTS)}.safetensors").write_bytes(WEIGHTS)
    assert only(store, "checkpoint").key == key("resnet14")


def test_outputs_are_summed_by_source(store: Store) -> None:
    folders = [put_outputs(store, "resnet20", bank, DAY * (bank + 1)) for bank in range(3)]
    put_outputs(store, "resnet14")
    outputs = list_store(store).outputs()
    assert set(outputs) == {key("resnet20"), key("resnet14")}
    one = outputs[key("resnet20")]
    assert (one.banks, one.size) == (3, sum(map(size_of, folders)))
    assert time.time() - one.used == pytest.approx(DAY, abs=60)


def test_data_have_a_name(store: Store, digits: PreparedData) -> None:
    put_data(store, digits)
    data = only(store, "data")
    assert (data.name, data.images) == ("digits", 150)
    assert list_store(store).datasets() == {digits.info.fingerprint: "digits"}


def test_searches_that_used_an_entry_are_named(store: Store) -> None:
    for name in ("resnet20", "resnet14"):
        put_stage(store, name)
    put_outputs(store, "resnet20")
    for run, used in (("runs/first", ["resnet20"]), ("runs/second", ["resnet20", "resnet8"])):
        with store.lease("search", run) as lease:
            lease.add(map(key, used))
    with store.lease("trial") as lease:
        lease.add([key("resnet14")])
        entries = list_store(store).entries
    named = {(entry.kind, entry.key): entry.searches for entry in entries}
    both = ("runs/first", "runs/second")
    assert named == {
        ("stage", key("resnet20")): both,
        ("stage", key("resnet14")): (),  # trials do not count as searches
        ("outputs", key("resnet20")): both,
    }


def test_a_use_is_that_of_searches_outputs_and_stages(store: Store, digits: PreparedData) -> None:
    put_stage(store, "old", 9 * DAY, data=digits.info.fingerprint)
    put_data(store, digits, age=8 * DAY)
    ages = [only(store, "stage"), only(store, "data")]
    assert [round((time.time() - e.used) / DAY) for e in ages] == [9, 8]
    put_outputs(store, "old", age=5 * DAY)
    ages = [only(store, "stage"), only(store, "data")]
    assert [round((time.time() - e.used) / DAY) for e in ages] == [5, 5]
    with store.lease("search", "run") as lease:
        lease.add([key("old")])
    ages = [only(store, "stage"), only(store, "data"), only(store, "outputs")]
    assert [round((time.time() - e.used) / DAY) for e in ages] == [0, 0, 5]


def test_no_weights_and_no_arrays_are_read(
    store: Store, digits: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, digits)
    before = snapshot(store.root)
    opened: list[str] = []
    original = Path.open

    def watched(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", watched)
    list_store(store)
    monkeypatch.undo()
    assert "stage.json" in opened
    assert {Path(name).suffix for name in opened} == {".json"}
    assert snapshot(store.root) == before


def sealed(value: dict[str, Any]) -> bytes:
    return to_json(value | {"checksum": sha256(to_json(value))})


WHOLE = {"key": key("resnet8"), "tensors": sha256(WEIGHTS), "finished": 1.0, **meta("resnet8")}
FOREIGN = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "no checksum": b"{}",
    "too deep": b"[" * 100_000,
    "binary": bytes(range(256)),
    "too large a number": b'{"train_count": 1e999, "validation_count": 1, "dataset": "x", '
    b'"fingerprint": "y", "spec": {"source": 3}, "since": 1' + b"0" * 400 + b', "kind": "search", '
    b'"name": "x", "keys": []}',
    "sealed, no spec": sealed({"key": key("resnet8"), "tensors": sha256(WEIGHTS)}),
    "sealed, no rows": sealed({**WHOLE, "rows": []}),
    "sealed, odd rows": sealed({**WHOLE, "rows": [{"val_accuracy": "?"}]}),
    "sealed, odd spec": sealed({**WHOLE, "spec": 3}),
    "sealed for another": sealed({**WHOLE, "key": key("resnet20")}),
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_foreign_descriptions_are_unknown(store: Store, digits: PreparedData, text: bytes) -> None:
    fill(store, digits)
    described = [*store.root.glob("stages/*/*/stage.json"), *store.root.glob("outputs/*/*/*.json")]
    described += [*store.root.glob("partial/*/*.json"), *store.root.glob("data/*/info.json")]
    described = [path for path in described if not path.parent.name.startswith(".tmp-")]
    assert len(described) == 5
    for path in [*described, store.root / "users" / "x.json"]:
        path.write_bytes(text)
    before = snapshot(store.root)
    inventory = list_store(store)
    assert {entry.path for entry in inventory.of("unknown")} == {path.parent for path in described}
    assert inventory.users == ()
    assert snapshot(store.root) == before


def test_what_lies_in_a_wrong_place_is_unknown(store: Store, digits: PreparedData) -> None:
    put_stage(store, "resnet8")
    moved = store.root / "stages" / "zz" / key("resnet8")
    shutil.copytree(store.root / "stages" / key("resnet8")[:2] / key("resnet8"), moved)
    beside = store.root / "stages" / ("00" if key("resnet8")[:2] != "00" else "11")
    shutil.copytree(moved, beside / key("resnet8"))
    strange = [store.root / name for name in ("notes.txt", "data/x", "partial/y", "outputs/z")]
    strange += [store.root / "partial" / key("file"), beside / "file"]
    for path in strange:
        path.write_text("here")
    assert paths(store, "unknown") == {*strange, moved.parent, beside / key("resnet8")}
    assert len(paths(store, "stage")) == 1


def test_a_stage_that_goes_while_it_is_looked_at_is_not_listed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("resnet20", "resnet8"):
        put_stage(store, name)
    original = Store.meta

    def late(self: Store, stage: str, partial: bool = False) -> Mapping[str, object] | None:
        if stage == key("resnet8"):
            shutil.rmtree(self.root / "stages" / stage[:2] / stage)
            raise FileNotFoundError(stage)
        return original(self, stage, partial)

    monkeypatch.setattr(Store, "meta", late)
    assert [entry.name for entry in list_store(store).entries] == ["resnet20"]


def test_a_description_is_read_as_the_store_writes_it(store: Store) -> None:
    folder = put_stage(store, "resnet8")
    written = json.loads((folder / "stage.json").read_bytes())
    assert written["finished"] == only(store, "stage").used
    put_outputs(store, "resnet8", bank=7)
    assert only(store, "outputs").path.name == outputs_of("resnet8", 7).key
