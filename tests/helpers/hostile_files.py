"""Every reader of files that others may have written, with sound files for it."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from helpers.mutations import (
    BAIT,
    Mutation,
    mutate_value,
    repacked_zip,
    resealed_json,
    resealed_yaml,
    rewritten_header,
    unsealed_yaml,
)
from helpers.shipped import make_run
from helpers.stores import key, logits, outputs_of
from helpers.studies import run_trials
from PIL import Image

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import read_config, to_yaml, to_yaml_values
from dgkd_search.data.cache import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import FULL_16_BITS, Decoding
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.prepared import verify_prepared
from dgkd_search.distillation.pretrained import read_teacher
from dgkd_search.distillation.stored_stages import stored_record
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.registry import build
from dgkd_search.results.best import load_best, load_student
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.trial_row import trial_rows
from dgkd_search.store.inventory import list_store
from dgkd_search.store.store import Store
from dgkd_search.training.weights import to_bytes
from dgkd_search.utils.hashing import sha256, to_checksummed_json, with_checksum
from dgkd_search.workflows.reproduce import options_from_best
from dgkd_search.workflows.resume import create_study

PICTURES = ("png", "jpg", "webp", "gif", "tiff", "bmp")
ARCHITECTURE = Architecture("cnn", "cnn2", 10, 1, 8)


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        files: patterns of the files that are mutated, below the folder.
        read: reads them; the folder is a fresh copy of the sound one.
        mutations: of the bytes of a file; others than those that suit all files.
    """

    files: tuple[str, ...]
    read: Callable[[Path], object]
    mutations: tuple[Mutation, ...] = ()


def _read_config(folder: Path) -> object:
    problems: list[str] = []
    return resolve(parse_options(read_config(folder / "config.yaml", problems)))


def _read_best(folder: Path) -> object:
    best = load_best(folder)
    best.to_json(), str(best)
    options_from_best(folder, best, {})
    return load_student(folder)


def _is_small(path: Path) -> bool:
    """Whether a test may read a file, which may be a pipe or endless."""
    return path.is_file() and path.stat().st_size < 2**24


def _read_weights(folder: Path) -> object:
    """Load a student whose best.yaml has the checksum of the present weights."""
    path, weights = folder / "best.yaml", folder / "student.safetensors"
    if _is_small(weights):
        value = yaml.safe_load(path.read_bytes())
        del value["checksum"]
        value["weights"]["sha256"] = sha256(weights.read_bytes())
        path.write_text(yaml.safe_dump(with_checksum(value)))
    return load_student(folder)


def _read_run(folder: Path) -> object:
    return trial_rows(open_readonly(RunFolder(folder)))


def _read_stage(folder: Path) -> object:
    store = Store(folder)
    list_store(store)
    (stage,) = _STAGES
    stored_record(store, stage)
    store.verify_users()
    return store.users(), store.notes


def _read_partial(folder: Path) -> object:
    store = Store(folder)
    list_store(store)
    return store.get_partial(key("partial")), store.notes


def _read_outputs(folder: Path) -> object:
    store = Store(folder)
    (entry,) = folder.glob("outputs/*/*")
    path, array = entry / "outputs.json", entry / "logits.npy"
    if _is_small(path) and _is_small(array):
        with contextlib.suppress(Exception):  # the description may be what was changed
            value = json.loads(path.read_bytes())
            del value["checksum"]
            value["sha256"] = sha256(array.read_bytes())
            path.write_bytes(to_checksummed_json(value))
    list_store(store)
    return store.outputs.get(outputs_of("teacher")), store.outputs.files()


def _read_prepared(folder: Path) -> object:
    data = verify_prepared(folder)
    return data.info.to_dict(), data.train(), data.validation()


def _read_listing(folder: Path) -> object:
    data = verify_prepared(folder)
    return data.listing("train").paths([0]), data.listing("validation").paths([0])


def _read_npz(folder: Path) -> object:
    dataset = open_dataset_files(DataConfig("arrays", str(folder / "data.npz")))
    dataset.labels(), dataset.identity()
    return dataset.read("train", [0, 1])


def _picture(kind: str) -> Callable[[Path], object]:
    decoding = Decoding(values=FULL_16_BITS)
    return lambda folder: decode_images([folder / f"picture.{kind}"], 3, 16, decoding)


_STAGES: list[Any] = []  # the stage that the store contains, set by ``make_sound_files``


def _teacher(name: str) -> Callable[[Path], object]:
    return lambda folder: read_teacher(folder / name, ARCHITECTURE)


def _resealed_rows(data: bytes, draw: random.Random) -> bytes:
    """Change JSON values in a database, and compute their checksums again."""
    with sqlite3.connect(":memory:") as database:
        database.deserialize(data)
        table = draw.choice(("study_user_attributes", "trial_user_attributes"))
        rows = database.execute(f"SELECT rowid, value_json FROM {table}").fetchall()
        row, text = draw.choice(rows)
        value = yaml.safe_load(text)
        if isinstance(value, dict):
            value.pop("checksum", None)
            mutate_value(value, draw)
            text = to_checksummed_json(value).decode()
        else:
            text = draw.choice(("null", "[[1]]", '{"checksum": 1}', f'"{BAIT}"'))
        database.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (text, row))
        database.commit()
        changed = database.serialize()
    database.close()
    return changed


def _changed_cells(data: bytes, draw: random.Random) -> bytes:
    """Change any value of any table of a database."""
    with sqlite3.connect(":memory:") as database:
        database.deserialize(data)
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        (table,) = draw.choice(names)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column = draw.choice(columns)
        value = draw.choice((None, -1, 2**62, 1e308, "", BAIT, b"\xff\x00", "[" * 999))
        try:
            database.execute(
                f'UPDATE OR REPLACE {table} SET "{column}" = ? WHERE rowid = '
                f"(SELECT rowid FROM {table} ORDER BY random() LIMIT 1)",
                (value,),
            )
        except sqlite3.DatabaseError:  # a constraint forbids the value
            database.execute(f"DROP TABLE {table}")
        database.commit()
        changed = database.serialize()
    database.close()
    return changed


READERS: Mapping[str, Reader] = {
    "config": Reader(("config.yaml",), _read_config, (unsealed_yaml,)),
    "best.yaml": Reader(("best.yaml",), _read_best, (resealed_yaml, unsealed_yaml)),
    "student.safetensors": Reader(("student.safetensors",), _read_weights, (rewritten_header,)),
    "definition": Reader((".definition.json",), _read_run, (resealed_json,)),
    "study.db": Reader(("study.db",), _read_run, (_resealed_rows, _changed_cells)),
    "stage": Reader(("stage.json", "weights.safetensors"), _read_stage),
    "stage.json": Reader(("stage.json",), _read_stage, (resealed_json,)),
    "lease": Reader(("users/*.json",), _read_stage, (resealed_json,)),
    "checkpoint": Reader(("checkpoint.json",), _read_partial, (resealed_json,)),
    "outputs": Reader(("outputs.json", "logits.npy"), _read_outputs),
    "outputs.json": Reader(("outputs.json",), _read_outputs, (resealed_json,)),
    "info.json": Reader(("info.json",), _read_prepared, (resealed_json,)),
    "arrays": Reader(("train_images.npy", "validation_labels.npy"), _read_prepared),
    "listing": Reader(("root.json", "train_names.npy", "info.json"), _read_listing),
    "npz": Reader(("data.npz",), _read_npz, (repacked_zip,)),
    "teacher.safetensors": Reader(
        ("teacher.safetensors",), _teacher("teacher.safetensors"), (rewritten_header,)
    ),
    "teacher.pt": Reader(("teacher.pt",), _teacher("teacher.pt"), (repacked_zip,)),
    **{f"picture.{kind}": Reader((f"picture.{kind}",), _picture(kind)) for kind in PICTURES},
}


def make_sound_files(root: Path) -> dict[str, Path]:
    """Make the sound files of every reader; return their folders by its name."""
    run = make_run(root / "made", ("cnn3", "cnn2"), family="cnn")
    options = to_yaml_values(resolve(parse_options({"budget": 3, "epochs": 4})).options)
    (root / "config").mkdir()
    (root / "config" / "config.yaml").write_text(to_yaml(options))
    resolved = resolve(parse_options({"budget": 3, "epochs": 4, "concurrency": 1}))
    search = RunFolder(root / "search")
    with search.begin():
        definition = SearchDefinition.of(resolved.options, "f" * 32)
        study = create_study(search, resolved.config, definition)
        run_trials(study, 2)
    prepared = prepare(DataConfig("digits", train_limit=40), root / "data").path
    folders = {
        "config": root / "config",
        "run": run.path,
        "search": search.path,
        "store": _make_store(root, run),
        "prepared": prepared,
        "listing": _make_listing(root),
        "files": _make_files(root / "files"),
    }
    return {name: folders[_FOLDERS.get(name, "files")] for name in READERS}


_FOLDERS = {
    "config": "config",
    "best.yaml": "run",
    "student.safetensors": "run",
    "definition": "search",
    "study.db": "search",
    **dict.fromkeys(("stage", "stage.json", "lease", "checkpoint"), "store"),
    **dict.fromkeys(("outputs", "outputs.json"), "store"),
    **dict.fromkeys(("info.json", "arrays"), "prepared"),
    "listing": "listing",
}


def _make_store(root: Path, run: RunFolder) -> Path:
    """Make a store with one entry of each kind: the stage is the student of the run."""
    stage = load_best(run.path).stages[-1]
    _STAGES[:] = [stage]
    entry = Store(root / "made" / "store").get(stage.key)
    assert entry is not None
    store = Store(root / "store")
    rows = {name: entry.meta[name] for name in ("spec", "rows")}
    store.put(stage.key, entry.tensors, rows)
    store.put_partial(key("partial"), entry.tensors[:512], rows)
    assert store.outputs.put(outputs_of("teacher"), logits(images=2))
    with store.lease("search", "runs/one") as lease:
        lease.add([stage.key])
    return store.root


def _make_listing(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "ab":
        folder = root / "pictures" / "train" / name
        folder.mkdir(parents=True)
        for count in range(4):
            pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{count}.png")
    config = DataConfig("imagefolder", str(root / "pictures"), image_size=8, images="stream")
    return prepare(config, root / "data").path


def _make_files(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "train_images": rng.integers(0, 256, (20, 8, 8), np.uint8),
        "train_labels": np.arange(20) % 3,
    }
    np.savez(folder / "data.npz", **arrays)
    model = build(ARCHITECTURE, torch.Generator())
    (folder / "teacher.safetensors").write_bytes(to_bytes(model.state_dict()))
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "teacher.pt")
    picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    for kind in PICTURES:
        picture.save(folder / f"picture.{kind}")
    return folder
