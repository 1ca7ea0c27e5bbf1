"""Shared parts of the benchmarks: images, new processes, timing in rounds, tables, JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data import PreparedData
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.tables import Column, Table

Name = TypeVar("Name")
Value = TypeVar("Value")
SIZE, CHANNELS, CLASSES = 32, 3, 10
PARTS = ("train", "val", "test")
_PACKAGES = ("dgkd-search", "torch", "torchvision", "ray", "optuna", "numpy")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CHUNK = 1000  # images generated at a time


# ---- the command -------------------------------------------------------------------------------


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark; ``doc`` is its docstring."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    made.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="images: train/<class>/* and test/<class>/*, at least ten classes; else generated",
    )
    made.add_argument("--seed", type=int, default=0, help="of images and drawn lists (0)")
    return made


def comma(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Return the type of an option that takes values separated by commas."""

    def parse(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",") if part]

    return parse


def save(
    args: argparse.Namespace,
    began: float,
    sizes: Mapping[str, Any],
    figures: Mapping[str, Any],
    threads: int = 1,
) -> None:
    """Write the figures to the file ``--json``, with everything needed to interpret them.

    Args:
        began: start of the benchmark on ``time.perf_counter``.
        sizes: numbers of images, epochs and the like.
        threads: number of threads of each timed process.
    """
    if args.json is None:
        return
    value = {
        "command": command(sys.argv),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "machine": machine(),
        "threads": threads,
        "images": "real" if args.data_dir else "generated",
        "sizes": dict(sizes),
        "seconds": round(time.perf_counter() - began, 1),
        "figures": dict(figures),
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(_rounded(value), indent=1, ensure_ascii=False) + "\n")


def command(words: Sequence[str]) -> str:
    """Return the command line without paths, which differ between machines."""
    places = {"--data-dir": "DIR", "--json": "FILE"}
    said = [f"python experiments/{Path(words[0]).name}"]
    before = ""
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        hidden = f"{name}={places[name]}" if equals and name in places else word
        said.append(places.get(before, hidden))
        before = word
    return " ".join(said)


def machine() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "vector": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _rounded(value: Any) -> Any:
    """Round to six significant digits; None for values that are not finite, as JSON has no NaN."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows below their columns, with numbers aligned to the right."""
    first, *rest = columns
    shown = Table([Column(first, format=_cell), *(Column(c, "right", _cell) for c in rest)], rows)
    print("\n".join(["", title, *shown.lines()]), flush=True)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# ---- images ------------------------------------------------------------------------------------


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Create a folder for images, stores and runs; remove it at the end."""
    with TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def image_folder(
    where: Path,
    data_dir: Path | None,
    *,
    train: int,
    validation: int,
    test: int = 0,
    seed: int = 0,
) -> Path:
    """Make an image folder with a given number of images in each part, evenly over ten classes.

    Args:
        where: the folder to create.
        data_dir: folder of real images, which are linked: training and validation images from
            ``train/``, test images from ``test/``. None generates learnable images of that shape.
        seed: seed of the selection, or of the generated images.

    Returns:
        ``where``, with ``train/<class>/``, ``val/<class>/`` and, unless empty, ``test/<class>/``.
    """
    counts = dict(zip(PARTS, (train, validation, test), strict=True))
    for part, count in counts.items():
        if count and count < CLASSES:
            raise SystemExit(f"{count} {part} images: give at least {CLASSES}, one a class")
    if data_dir is None:
        _generate(where, counts, seed)
    else:
        _link(where, data_dir, counts, seed)
    return where


def shares(count: int, classes: int = CLASSES) -> list[int]:
    """Split ``count`` evenly; the first classes get the extra images."""
    return [count // classes + (i < count % classes) for i in range(classes)]


def _link(where: Path, data_dir: Path, counts: Mapping[str, int], seed: int) -> None:
    names = sorted(p.name for p in (data_dir / "train").iterdir() if p.is_dir())[:CLASSES]
    if len(names) < CLASSES:
        raise SystemExit(f"{data_dir}/train: has {len(names)} classes, {CLASSES} are needed")
    for i, name in enumerate(names):
        rows = {"train": _shuffled(data_dir / "train" / name, seed)}
        if counts["test"]:
            rows["test"] = _shuffled(data_dir / "test" / name, seed)
        rows["val"] = rows["train"][shares(counts["train"])[i] :]
        for part, count in counts.items():
            wanted = shares(count)[i]
            if wanted > len(rows.get(part, [])):
                raise SystemExit(f"{data_dir}: too few images of {name} for {count} {part} images")
            if wanted:
                folder = where / part / name
                folder.mkdir(parents=True)
                for path in rows[part][:wanted]:
                    (folder / path.name).symlink_to(path.resolve())


def _shuffled(folder: Path, seed: int) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    random.Random(f"{seed} {folder.name}").shuffle(paths)
    return paths


def _generate(where: Path, counts: Mapping[str, int], seed: int) -> None:
    for number, (part, count) in enumerate(counts.items()):
        random_state = np.random.Generator(np.random.PCG64([seed, number]))
        for label, wanted in enumerate(shares(count)):
            if wanted:
                folder = where / part / f"class{label}"
                folder.mkdir(parents=True)
                for start in range(0, wanted, _CHUNK):
                    images = generated(label, min(_CHUNK, wanted - start), random_state)
                    for i, image in enumerate(images):
                        # The plainest format there is: fifty thousand files take seconds.
                        head = f"P6\n{SIZE} {SIZE}\n255\n".encode()
                        path = folder / f"{start + i:05}.ppm"
                        path.write_bytes(head + image.tobytes())


def generated(label: int, count: int, random_state: np.random.Generator) -> NDArray[np.uint8]:
    """Generate images of a class, [count, SIZE, SIZE, 3]: waves of its direction and color.

    Phases are random, and waves of random direction and noise are added, so that a network can
    learn the classes but not perfectly. Mirroring does not change the class.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE] * (2 * math.pi / SIZE)
    across, down = [(1, 4), (3, 4), (4, 3), (4, 1), (2, 2)][label % 5]
    color = np.array([(1.0, 0.6, 0.2), (0.2, 0.6, 1.0)][label // 5])

    def waves(right: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
        start = random_state.uniform(0, 2 * math.pi, (count, 1, 1))
        found: NDArray[Any] = np.sin(right * x + below * y + start)
        return found

    mirrored = random_state.choice([-1, 1], (count, 1, 1))
    height = random_state.uniform(0.3, 1.0, (count, 1, 1))
    own = height * waves(across * mirrored, np.full((count, 1, 1), down))
    other = waves(*(random_state.uniform(-5, 5, (count, 1, 1)) for _ in range(2)))
    mixed = own[..., None] * color + 0.6 * other[..., None] * random_state.dirichlet(
        np.ones(CHANNELS), (count, 1, 1)
    )
    noisy = 128 + 60 * mixed + random_state.normal(0, 40, mixed.shape)
    images: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return images


def planned(
    folder: Path, store: Path, models: Sequence[str], **options: Any
) -> tuple[tuple[StageSpec, ...], PreparedData]:
    """Return the stages of a chain on an image folder, and its data; see ``dgkd_search.plan``.

    Args:
        folder: folder from ``image_folder``.
        store: folder of the store for the decoded images.
    """
    from dgkd_search import plan

    data: dict[str, Any] = {"dataset": "imagefolder", "data_dir": str(folder), "image_size": SIZE}
    return plan(models, **data, store=str(store), **options)


# ---- processes and timing ----------------------------------------------------------------------


@contextlib.contextmanager
def processes(count: int, threads: int = 1) -> Iterator[ProcessPoolExecutor]:
    """Start new processes, not forks of this one, each with a given number of threads.

    Memory, caches and Ray of one process therefore do not affect the timing of another.
    """
    # Torch reads the number of threads when it is imported. The path is for Ray's workers, which
    # import these files too.
    settings = dict.fromkeys(_THREADS, str(threads))
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    pool = ProcessPoolExecutor(
        count, get_context("spawn"), initializer=_set_threads, initargs=(threads,)
    )
    try:
        with pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def alone(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a module in a new process."""
    with processes(1) as pool:
        return pool.submit(function, *args).result()


def in_rounds(actions: Mapping[Name, Callable[[], Value]], rounds: int) -> dict[Name, list[Value]]:
    """Run the actions in rounds; return the results of each action by round.

    The actions take turns, so that other load on the machine affects all of them. Their order is
    rotated in every round, so that none always follows the slowest one. An uncounted first round
    fills caches.
    """
    names = list(actions)
    values: dict[Name, list[Value]] = {name: [] for name in names}
    for turn in range(-1, rounds):
        for name in names[max(turn, 0) % len(names) :] + names[: max(turn, 0) % len(names)]:
            value = actions[name]()
            if turn >= 0:
                values[name].append(value)
    return values


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for a single value."""
        n = len(self.values)
        return statistics.stdev(self.values) / math.sqrt(n) if n > 1 else math.nan

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.error:.2f}" if len(self.values) > 1 else f"{self.mean:.2f}"


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios per round, as a slow round slows both sides."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
