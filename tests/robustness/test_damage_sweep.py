"""Entries with any byte changed or any length cut off are detected and recreated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.stores import WEIGHTS, key, logits, meta, outputs_of

from dgkd_search.data import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.store.store import Store


@dataclass(frozen=True)
class Entry:
    """A kind of store entry.

    Attributes:
        make: writes the entry if it is missing.
        read: returns whether the entry is present; raises if it is present but wrong.
    """

    make: Callable[[Store], object]
    read: Callable[[Store], bool]
    folder: Callable[[Store], Path]


def sound_stage(store: Store) -> bool:
    found = store.get(key("a"))
    assert found is None or (found.tensors == WEIGHTS[:8] and found.meta["rows"])
    return found is not None


def sound_partial(store: Store) -> bool:
    found = store.get_partial(key("a"))
    assert found is None or (found.tensors == WEIGHTS[:8] and found.meta["rows"])
    return found is not None


def sound_outputs(store: Store) -> bool:
    found = store.outputs.get(outputs_of("a"))
    assert found is None or (found == logits(images=2)).all()
    return found is not None


ENTRIES = {
    "stage": Entry(
        lambda store: store.put(key("a"), WEIGHTS[:8], meta("a")),
        sound_stage,
        lambda store: store.root / "stages" / key("a")[:2] / key("a"),
    ),
    "checkpoint": Entry(
        lambda store: store.put_partial(key("a"), WEIGHTS[:8], meta("a")),
        sound_partial,
        lambda store: store.root / "partial" / key("a"),
    ),
    "outputs": Entry(
        lambda store: store.outputs.put(outputs_of("a"), logits(images=2)),
        sound_outputs,
        lambda store: next((store.root / "outputs").glob("*/*")),
    ),
}


def damages(data: bytes, step: int) -> Iterator[bytes]:
    """Yield data with every ``step``-th byte changed, and cut to every ``step``-th length."""
    for place in range((len(data) - 1) % step, len(data), step):
        for bit in (1, 128):
            yield data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
    for length in {0, *range((len(data) - 1) % step, len(data), step)}:
        yield data[:length]
    yield data + b"\x00"
    yield data + b"}"


@pytest.mark.parametrize("name", ENTRIES)
def test_every_byte_and_every_length(tmp_path: Path, name: str, thorough: bool) -> None:
    """Every fifth byte and length; with ``--thorough``, all."""
    step = 1 if thorough else 5
    entry, store = ENTRIES[name], Store(tmp_path)
    entry.make(store)
    folder = entry.folder(store)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 2
    tried = 0
    for file, data in files.items():
        for damaged in damages(data, step):
            tried += 1
            (folder / file).write_bytes(damaged)
            assert not entry.read(store), (file, damaged)
            (note,) = store.notes
            assert folder.name in note and "moved to " in note
            assert not folder.exists()
            store.notes.clear()
            if tried % 50 == 0:
                entry.make(store)
            else:  # restore it without waiting for the disk
                folder.mkdir()
                for again, whole in files.items():
                    (folder / again).write_bytes(whole)
            assert entry.read(store)
    assert tried * step > 1000
    assert len(list((tmp_path / "damaged").iterdir())) == tried


def test_prepared_data_with_a_changed_byte_are_made_again(tmp_path: Path) -> None:
    config = DataConfig("digits", train_limit=40)
    folder = prepare(config, tmp_path).path
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 5
    count = 0
    for file, data in files.items():
        for place in (0, len(data) // 2, len(data) - 1):
            count += 1
            damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            (folder / file).write_bytes(damaged)
            assert prepare(config, tmp_path).path == folder
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert len(list((tmp_path / "damaged").iterdir())) == count
