"""Small stores with entries of every kind."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from dgkd_search.data import PreparedData
from dgkd_search.store.inventory import list_store
from dgkd_search.store.store import Store
from dgkd_search.training.recipe import Numerics
from dgkd_search.training.spec import OutputsSpec
from dgkd_search.utils.hashing import digest

WEIGHTS = bytes(range(256))
DAY = 86400.0


def key(name: str) -> str:
    return digest(["stage", name])


def meta(
    name: str, data: str = "d" * 32, accuracy: float = 50.0, epochs: int = 2
) -> dict[str, Any]:
    """Return the description of a stage that a trial writes."""
    return {
        "spec": {
            "data": data,
            "architecture": {"family": "resnet", "name": name},
            "sources": [key("teacher")],
        },
        "rows": [
            {"epoch": e + 1, "val_accuracy": accuracy - 10 * (epochs - e - 1)}
            for e in range(epochs)
        ],
    }


def put_stage(store: Store, name: str, age: float = DAY, **said: Any) -> Path:
    """Store a finished stage, made ``age`` seconds ago; return its folder."""
    with mock.patch("dgkd_search.store.store.time.time", return_value=time.time() - age):
        store.put(key(name), WEIGHTS, meta(name, **said))
    return store.root / "stages" / key(name)[:2] / key(name)


def put_partial(store: Store, name: str, age: float = DAY, **said: Any) -> Path:
    store.put_partial(key(name), WEIGHTS, meta(name, **said))
    folder = store.root / "partial" / key(name)
    then = time.time() - age
    os.utime(folder / "checkpoint.json", (then, then))
    return folder


def outputs_of(name: str, bank: int = 0) -> OutputsSpec:
    return OutputsSpec(key(name), "crop", bank, Numerics())


def logits(seed: int = 0, images: int = 20) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.random.default_rng(seed).normal(size=(images, 10)).astype(np.float16)


def put_outputs(store: Store, name: str, bank: int = 0, age: float = DAY) -> Path:
    spec = outputs_of(name, bank)
    assert store.outputs.put(spec, logits(bank))
    folder = store.root / "outputs" / spec.key[:2] / spec.key
    then = time.time() - age
    os.utime(folder, (then, then))
    return folder


def put_data(store: Store, data: PreparedData, name: str = "data", age: float = DAY) -> Path:
    folder = store.data / key(name)
    shutil.copytree(data.path, folder)
    then = time.time() - age
    os.utime(folder, (then, then))
    return folder


def put_damaged(store: Store, name: str) -> Path:
    """Store a stage, truncate its weights, and read it, so that it is moved to ``damaged/``."""
    (put_stage(store, name) / "weights.safetensors").write_bytes(b"")
    assert store.get(key(name)) is None
    return next((store.root / "damaged").glob(f"{key(name)}-*"))


def put_temporary(store: Store, name: str, age: float = DAY) -> Path:
    """Write what a process leaves if it is killed while it writes a stage."""
    folder = store.root / "stages" / key(name)[:2] / f".tmp-0123456789ab-{key(name)}"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(WEIGHTS)
    then = time.time() - age
    for path in (folder / "weights.safetensors", folder):
        os.utime(path, (then, then))
    return folder


def fill(store: Store, data: PreparedData, name: str = "resnet8", age: float = DAY) -> None:
    """Add an entry of every kind, ``age`` seconds old except the damaged one."""
    put_stage(store, name, age, data=data.info.fingerprint)
    put_partial(store, f"{name}-partial", age)
    put_outputs(store, name, 0, age)
    put_outputs(store, name, 1, age)
    put_data(store, data, f"{name}-data", age)
    put_damaged(store, f"{name}-damaged")
    put_temporary(store, f"{name}-killed", age)


def paths(store: Store, *kinds: str) -> set[Path]:
    return {entry.path for entry in list_store(store).entries if not kinds or entry.kind in kinds}


def snapshot(root: Path) -> dict[str, tuple[bytes | None, float]]:
    """Return all files and folders with contents and times, except locks."""
    return {
        str(path.relative_to(root)): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mtime,
        )
        for path in root.rglob("*")
        if path.suffix != ".lock" and path.name not in ("locks", "data")
    }
