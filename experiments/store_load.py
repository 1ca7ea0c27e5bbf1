"""Load test of a store: many writers while it is verified and freed.

    python experiments/store_load.py --json FILE

Every stage is needed by two random writers. As trials do, each one looks for it, takes its lock,
looks again, and stores a checkpoint and then the stage. Meanwhile, one process repeatedly verifies
the complete store, and another one repeatedly frees it. Some stages were there before, unused, and
may be removed. The limit of outputs has room for a tenth of them, so that writers evict each
other's outputs. The test counts stages that differ from what was put, stages that were put twice
without having been freed in between, and damaged entries that any process found.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench
import numpy as np

from dgkd_search.store.maintenance import free_space, verify_store
from dgkd_search.store.store import Store
from dgkd_search.training.recipe import Numerics
from dgkd_search.training.spec import OutputsSpec
from dgkd_search.utils.hashing import digest

IMAGES, CLASSES = 64, 10
_PATIENCE = 1800  # seconds for everything; a writer that dies reports nothing
_OLD = 0.1  # share of stages that were there before


def key(number: int) -> str:
    return digest(["store_load", number])


def content(number: int) -> bytes:
    """Return a stage's weights: a few kilobytes that depend only on its number."""
    return hashlib.shake_256(str(number).encode()).digest(2000)


def meta(number: int) -> dict[str, Any]:
    spec = {"architecture": {"family": "none", "name": f"m{number}"}, "sources": [], "data": "d"}
    return {"spec": spec, "rows": [{"epoch": 1, "val_accuracy": float(number % 100)}]}


def outputs(number: int) -> tuple[OutputsSpec, Any]:
    rng = np.random.default_rng(number)
    array = rng.normal(size=(IMAGES, CLASSES)).astype(np.float16)
    return OutputsSpec(key(number), "none", 0, Numerics()), array


def write(root: Path, limit: int, numbers: list[int], found: Any) -> None:
    """Run one writer, which gets every stage of a list in order, its own or another writer's."""
    store = Store(root, limit)
    corrupt, made = 0, []
    for number in numbers:
        with store.lease("trial") as lease:
            lease.add([key(number)])
            while True:
                entry = store.get(key(number))
                if entry is not None:
                    corrupt += entry.tensors != content(number)
                    break
                try:
                    with store.lock(key(number)):
                        if store.get(key(number)) is None:
                            store.put_partial(key(number), content(number)[:99], meta(number))
                            partial = store.get_partial(key(number))
                            corrupt += partial is None or partial.tensors != content(number)[:99]
                            store.put(key(number), content(number), meta(number))
                            made.append(number)
                except TimeoutError:
                    time.sleep(0.01)
            if number % 4 == 0:
                spec, array = outputs(number)
                known = store.outputs.get(spec)
                corrupt += known is not None and not (known == array).all()
                if known is None:
                    store.outputs.put(spec, array)
    found.put((corrupt, made, store.notes))


def look_after(root: Path, what: str, over: Event, found: Any) -> None:
    """Verify or free the store until the writers are done."""
    store, rounds, freed = Store(root), 0, []
    notes: list[str] = []
    while not over.is_set():
        if what == "verify":
            notes += verify_store(store)
        else:
            gone = free_space(store, ("stages", "outputs", "all")[rounds % 3]).entries
            freed += [entry.path.name for entry in gone if entry.kind == "stage"]
        rounds += 1
    found.put((rounds, freed, notes))


def load(root: Path, writers: int, puts: int, seed: int) -> dict[str, Any]:
    """Run everything; return the counts of actions and errors."""
    rng = random.Random(seed)
    store = Store(root)
    old = int(puts * _OLD)
    for number in range(old):
        store.put(key(number), content(number), meta(number))
    lists: list[list[int]] = [[] for _ in range(writers)]
    for number in range(puts):
        for writer in rng.sample(range(writers), min(2, writers)):
            lists[writer].append(number)
    for numbers in lists:
        rng.shuffle(numbers)
    limit = max(1, puts // 40) * (IMAGES * CLASSES * 2 + 800)
    context = multiprocessing.get_context("spawn")
    over, found, looked = context.Event(), context.Queue(), context.Queue()
    keepers = [
        context.Process(target=look_after, args=(root, what, over, looked))
        for what in ("verify", "free")
    ]
    workers = [context.Process(target=write, args=(root, limit, n, found)) for n in lists]
    began = time.perf_counter()
    for process in keepers + workers:
        process.start()
    answers = [found.get(timeout=_PATIENCE) for _ in workers]
    seconds = time.perf_counter() - began
    over.set()
    keeping = [looked.get(timeout=_PATIENCE) for _ in keepers]
    for process in keepers + workers:
        process.join()
    made = Counter(number for _, numbers, _ in answers for number in numbers)
    freed = Counter(name for _, names, _ in keeping for name in names)
    notes = [note for *_, notes in [*answers, *keeping] for note in notes] + verify_store(store)
    was_there = {key(number) for number in range(old)}
    return {
        "writers": writers,
        "puts": sum(made.values()),
        "corrupt": sum(corrupt for corrupt, _, _ in answers),
        # A stage is put once, and once more for each time that it was freed.
        "twice": sum(
            max(0, count + (key(n) in was_there) - 1 - freed[key(n)]) for n, count in made.items()
        ),
        "freed": sum(freed.values()),
        "rounds of verifying and freeing": sum(rounds for rounds, _, _ in keeping),
        "damaged": len(notes),
        "seconds": seconds,
    }


def main() -> None:
    options = bench.parser(__doc__)
    options.add_argument("--writers", type=int, default=32)
    options.add_argument("--puts", type=int, default=10_000, help="stages (10,000)")
    args: argparse.Namespace = options.parse_args()
    began = time.perf_counter()
    with TemporaryDirectory(prefix="dgkd-load-") as folder:
        figures = load(Path(folder) / "store", args.writers, args.puts, args.seed)
    bench.table("a store under load", ("", "count"), [*figures.items()])
    bench.save(args, began, {"writers": args.writers, "puts": args.puts}, figures)
    if figures["corrupt"] or figures["twice"] or figures["damaged"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
