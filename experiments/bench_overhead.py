"""Measure the overhead of a search: seconds per trial, seconds to start, and memory.

    python experiments/bench_overhead.py [--data-dir DIR] --json FILE

Time: a store is filled with made-up stages for every chain of a search over resnet110 > resnet8
with subsets of six assistants and the usual drop values (--drops), so that its 64 trials of 16
epochs train nothing. The search runs with one and with two concurrent trials, each time in a new
process, with sampler, Ray, Tune, store, study and files. A trial reads and verifies its stages and
reports the student's 16 epochs. The table shows

starting   from the call to the first report of a trial: Ray, and a worker that imports torch
a trial    from then to the end of the last trial, times concurrent trials, divided by trials
later      the same for the second half of the trials, in which no worker starts
closing    from then to the return: the best student's test, figures, files
alone      a trial in this process, without Ray: median
ask, tell  of a similar study, without Ray, in the same process: sampling a trial; reporting its
           epochs and its end: median over the trials

Memory: a search of one trial (plain4-c10 > plain2-c10, one epoch each) with as many images as
CIFAR-10 has, decoded beforehand. The driver and the worker that trains are sampled every fifth of a
second. `peak` is the maximum of resident memory (VmHWM of /proc), `own` the maximum without files
behind it (RssAnon: needed by each process), `files` the maximum with files behind it (RssFile:
libraries and mapped images, which processes share), `images` the resident maximum of the mapped
images alone. `beside the images` is peak minus images. For comparison, there is a process that has
imported torch, and one that has imported torch and ray.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bench

from dgkd_search.callbacks.base import Observer
from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.config.parse_options import parse_options
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.stats import TrialStats

POOL = ("resnet56", "resnet44", "resnet32", "resnet26", "resnet20", "resnet14")
EPOCHS = 16
POLL = 0.2  # seconds between samples of the processes
MAPPED = re.compile(r"(train|validation)_(images|labels)\.npy$")


class Times(Observer):
    """Records the times of events, in seconds of ``time.perf_counter``."""

    def __init__(self) -> None:
        self.first_row: float | None = None
        self.ends: list[float] = []

    def row(self, job: TrialInfo, row: TrialProgress) -> None:
        self.first_row = self.first_row or time.perf_counter()

    def job_ended(
        self, job: TrialInfo, state: str, value: float | None, reason: str | None
    ) -> None:
        self.ends.append(time.perf_counter())
        if state != "complete":
            raise RuntimeError(f"trial {job.number}: {state} {reason}")


# ---- time --------------------------------------------------------------------------------------


def search_options(folder: Path, store: Path, trials: int, drops: str) -> dict[str, Any]:
    return {
        "dataset": "imagefolder",
        "data_dir": str(folder),
        "image_size": bench.SIZE,
        "family": "resnet",
        "teacher": "resnet110",
        "assistants": list(POOL),
        "drop_prob": drops,
        "epochs": EPOCHS,
        "augment": "none",
        "budget": trials,
        "pruner": "none",
        "no_reference": True,
        "confirm": "off",
        "cpus_per_trial": 1,
        "gpus_per_trial": 0,
        "store": str(store),
    }


def fill_store(options: dict[str, Any]) -> float:
    """Store a finished stage with random weights under every key that the search may need.

    Returns:
        Median milliseconds of a trial of such stages in this process, without Ray.
    """
    import safetensors.torch
    import torch

    from dgkd_search import run_trial
    from dgkd_search.config.resolve import resolve
    from dgkd_search.data import prepare
    from dgkd_search.models import build
    from dgkd_search.store.store import Store
    from dgkd_search.study.planner import Planner
    from dgkd_search.study.space import SearchSpace
    from dgkd_search.training.metrics import EpochMetrics
    from dgkd_search.training.stage_record import StageRecord

    config = resolve(parse_options(options, "{}")).config
    store = Store(options["store"])
    data = prepare(config.data, store.data)
    planner = Planner(config, data.info)
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    chains = [planner.stages(space.configuration(params)) for params in space.all_params()]
    rows = tuple(EpochMetrics(e + 1, 1.0, 50.0 + e, 1.0) for e in range(EPOCHS))
    weights: dict[str, bytes] = {}
    for spec in {stage.key: stage for chain in chains for stage in chain}.values():
        name = spec.architecture.name
        if name not in weights:
            model = build(spec.architecture, torch.Generator().manual_seed(0))
            weights[name] = safetensors.torch.save(model.state_dict())
        store.put(spec.key, weights[name], StageRecord(spec, rows).to_json())
    times = []
    for chain in chains[:: max(1, len(chains) // 16)]:
        began = time.perf_counter()
        result = run_trial(chain, data, options["store"])
        times.append(1000 * (time.perf_counter() - began))
        assert not any(stage.trained for stage in result.stages)
    return bench.Spread.of(times).median


def study_alone(options: dict[str, Any], path: Path) -> dict[str, float]:
    """Return the milliseconds that the driver spends on the study for each trial."""
    from dgkd_search.config.resolve import resolve
    from dgkd_search.study.study import ChainStudy

    study = ChainStudy(resolve(parse_options(options, "{}")).config, path)
    asked, told = [], []
    for _ in range(options["budget"]):
        began = time.perf_counter()
        proposal = study.ask()
        asked.append(1000 * (time.perf_counter() - began))
        if proposal is None:
            raise RuntimeError("the space has fewer configurations than --trials")
        began = time.perf_counter()
        # Realistic values: some chains are better than others.
        height = 50.0 + 4 * len(proposal.configuration.chain.models) - proposal.number % 7
        for epoch in range(EPOCHS):
            study.report(proposal.number, epoch + 1, height + epoch)
        study.complete(proposal.number, height + EPOCHS, TrialStats())
        told.append(1000 * (time.perf_counter() - began))
    return {"ask_ms": bench.Spread.of(asked).median, "tell_ms": bench.Spread.of(told).median}


def timed_search(options: dict[str, Any]) -> dict[str, float]:
    """Run a search that trains nothing in this process."""
    from dgkd_search.workflows.search import run_search

    times, began = Times(), time.perf_counter()
    summary = run_search(parse_options(options, "{}"), times)
    ended = time.perf_counter()
    if summary.work.trained or summary.work.finished != options["budget"]:
        raise RuntimeError(f"the search was no idle one:\n{summary}")
    first, ends, count = times.first_row or began, times.ends, options["concurrency"]
    half = len(ends) // 2
    return {
        "starting": first - began,
        "a_trial": (ends[-1] - first) * count / len(ends),
        "later": (ends[-1] - ends[half - 1]) * count / (len(ends) - half),
        "closing": ended - ends[-1],
        "wall": ended - began,
    }


# ---- memory ------------------------------------------------------------------------------------


@contextlib.contextmanager
def watched() -> Iterator[dict[str, dict[str, float]]]:
    """Sample the memory of this process and of its Ray workers until the block ends.

    Yields:
        Megabytes by process ("driver" or "worker", the largest of several) and by kind: peak, own,
        files, images.
    """
    found: dict[int, dict[str, float]] = {}
    result: dict[str, dict[str, float]] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL):
            for process in (os.getpid(), *_workers(os.getpid())):
                with contextlib.suppress(OSError, KeyError):  # it is just ending
                    _take(found.setdefault(process, {}), memory(process))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield result
    finally:
        over.set()
        thread.join()
        result["driver"] = found.pop(os.getpid(), {})
        result["worker"] = max(found.values(), key=lambda m: m.get("own", 0.0), default={})


def memory(process: int | str = "self") -> dict[str, float]:
    """Return the resident megabytes of a process by kind; see the module docstring."""
    status = Path(f"/proc/{process}/status").read_text()
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE))
    return {
        "peak": int(kilobytes["VmHWM"]) / 1024,
        "own": int(kilobytes["RssAnon"]) / 1024,
        "files": int(kilobytes["RssFile"]) / 1024,
        "images": _mapped(process) / 1024,
    }


def _mapped(process: int | str) -> int:
    """Return the resident kilobytes of mapped arrays of prepared data."""
    total, ours = 0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = MAPPED.search(line) is not None
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def _take(most: dict[str, float], now: dict[str, float]) -> None:
    for name, value in now.items():
        most[name] = max(most.get(name, 0.0), value)


def _workers(root: int) -> list[int]:
    """Return the Ray workers among the descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The name of a process may hold spaces and brackets; fields count from its end.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = []
    for process in parents:
        above = process
        while above in parents and above != root:
            above = parents[above]
        if above == root and process != root:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::"):
                    found.append(process)
    return found


def memory_of_search(options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Run a search of one trial in this process; return its resident memory."""
    from dgkd_search.workflows.search import run_search

    with watched() as result:
        run_search(parse_options(options, "{}"))
    if not result["worker"].get("images"):
        raise RuntimeError("no worker was seen with the images at hand")
    return result


def memory_of_imports(names: Sequence[str]) -> dict[str, float]:
    for name in names:
        __import__(name)
    return memory()


def prepare_only(options: dict[str, Any]) -> None:
    from dgkd_search.config.resolve import resolve
    from dgkd_search.data import prepare
    from dgkd_search.store.store import Store

    prepare(resolve(parse_options(options, "{}")).config.data, Store(options["store"]).data)


# ---- the command -------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--trials", type=int, default=64, help="of a search (64)")
    parser.add_argument("--drops", default="0:0.5", help="drop values searched over (0:0.5)")
    parser.add_argument(
        "--concurrency", type=bench.comma(int), default=[1, 2], help="trials at once (1,2)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each search (3)")
    parser.add_argument(
        "--images", type=int, default=50_000, help="for memory (50000); 0 leaves memory out"
    )
    args = parser.parse_args(arguments)
    began = time.perf_counter()
    figures: dict[str, Any] = {}
    with bench.workplace() as place:
        figures["time"] = _time(args, place)
        if args.images:
            figures["megabytes"] = _memory(args, place)
    sizes = {"trials": args.trials, "epochs": EPOCHS, "images": args.images}
    bench.save(args, began, {**sizes, "repeats": args.repeats}, figures)


def _time(args: Any, place: Path) -> dict[str, Any]:
    folder = bench.image_folder(place / "few", None, train=20, validation=20, seed=args.seed)
    options = search_options(folder, place / "store", args.trials, args.drops)
    alone = fill_store(options)
    study = study_alone(options, place / "study.db")
    figures: dict[str, Any] = {"alone_ms": alone, **study}
    for repeat in range(args.repeats):
        for count in args.concurrency:
            out = place / f"run-{count}-{repeat}"
            own = {**options, "concurrency": count, "out": str(out)}
            found = bench.alone(timed_search, own)
            figures.setdefault(str(count), []).append(found)
    names = ("starting", "a_trial", "later", "closing", "wall")
    bench.table(
        f"a search of {args.trials} trials that trains nothing: median seconds",
        ("trials at once", "starting", "a trial", "later", "closing", "wall"),
        [
            (str(count), *(_median(figures[str(count)], name) for name in names))
            for count in args.concurrency
        ],
    )
    print(
        f"without Ray: a trial {alone:.0f} ms, in the study ask {study['ask_ms']:.0f} ms, "
        f"tell {study['tell_ms']:.0f} ms"
    )
    return figures


def _median(runs: Sequence[dict[str, float]], name: str) -> float:
    return bench.Spread.of([run[name] for run in runs]).median


def _memory(args: Any, place: Path) -> dict[str, Any]:
    folder = bench.image_folder(
        place / "many",
        args.data_dir,
        train=args.images - args.images // 10,
        validation=args.images // 10,
        test=100,
        seed=args.seed,
    )
    options = search_options(folder, place / "large-store", 1, "0") | {
        "family": "plain-c10",
        "teacher": "plain4-c10",
        "student": "plain2-c10",
        "assistants": "none",
        "epochs": 1,
        "concurrency": 1,
        "out": str(place / "run-memory"),
    }
    bench.alone(prepare_only, options)
    found: dict[str, Any] = bench.alone(memory_of_search, options)
    for names in (("torch",), ("torch", "ray.tune")):
        found[f"imports {', '.join(names)}"] = bench.alone(memory_of_imports, names)
    bench.table(
        f"peak memory with {args.images} images at hand, in MB",
        ("", "peak", "images", "beside the images", "own", "files"),
        [
            (name, m["peak"], m["images"], m["peak"] - m["images"], m["own"], m["files"])
            for name, m in found.items()
        ],
    )
    return found


if __name__ == "__main__":
    main()
