"""Measure the cost of teachers per training step, and an epoch beside a plain training loop.

    python experiments/bench_step.py [--data-dir DIR] --json FILE

Milliseconds per step of plain2 under plain10, 8, 6, 4 and of resnet8 under resnet26, 20, 14, in
mini-batches of 128, without drops and augmentation:

alone      labels only
stored     teachers with stored outputs
online     teachers run on every batch, without gradients
autograd   teachers run on every batch with gradients enabled, as in the public reference code: the
           backward pass goes through them too

The four variants take turns in one process. A figure is the median over rounds of the mean over a
round's steps, a ratio is the median of the ratios per round. Teachers have random weights, as their
outputs do not affect the cost.

An epoch of resnet8 on labels, with crop and flip, is trained by our trainer and by a plain loop:
torchvision's transforms of PIL images, a DataLoader (with no worker, one and two; the fastest one
counts), the same network, optimizer and batches, contiguous float32. Our trainer differs in its
data path and in the numerics of this device (recipe.NUMERICS; on the CPU, freed memory is kept, see
determinism.disable_malloc_trim).
`same numerics` is the plain loop with these numerics, so that only the data path differs.
Every side has its own process, and the sides take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.models import build
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.determinism import autocast, deterministic, memory_format
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.recipe import NUMERICS, Numerics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import (
    CachedTeachers,
    OnlineTeachers,
    Teachers,
    compute_outputs,
    freeze,
)
from dgkd_search.training.trainer import Trainer, views_of

CHAINS = {
    "plain": ("plain10", "plain8", "plain6", "plain4", "plain2"),
    "resnet": ("resnet26", "resnet20", "resnet14", "resnet8"),
}
KINDS = ("alone", "stored", "online", "autograd")
RATIOS = (("stored", "alone"), ("online", "stored"), ("autograd", "stored"))
PARTS = ("plain", "resnet", "epoch")


class AutogradSources:
    """Teachers that are run with gradients enabled; their weights are never updated."""

    def __init__(self, models: Sequence[nn.Module], numerics: Numerics) -> None:
        self._models = [model.eval().requires_grad_() for model in models]
        self._numerics = numerics

    def __len__(self) -> int:
        return len(self._models)

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        with autocast(self._numerics):
            return torch.stack([self._models[i](images) for i in which])


def learners(
    stages: Sequence[StageSpec], alone: StageSpec, data: PreparedData
) -> dict[str, Trainer]:
    """Return a trainer of the student for each variant, on one copy of the data."""
    spec = stages[-1]
    numerics, device = spec.numerics, torch.device(spec.numerics.device_type)
    at_hand = DeviceData(data, device)
    models = [new_source(stage, device) for stage in stages[:-1]]
    views = views_of(data.info, spec.recipe.augment)
    stored = CachedTeachers(len(models))
    stored.use(0, [compute_outputs(m, at_hand, views, 0, numerics).to(device) for m in models])
    taught: dict[str, Teachers] = {
        "stored": stored,
        "online": OnlineTeachers(models, device, numerics),
        # Copies, because the other variants need teachers without gradients.
        "autograd": AutogradSources([new_source(stage, device) for stage in stages[:-1]], numerics),
    }
    return {
        "alone": Trainer(alone, at_hand),
        **{name: Trainer(spec, at_hand, sources) for name, sources in taught.items()},
    }


def new_source(stage: StageSpec, device: torch.device) -> nn.Module:
    model = build(stage.architecture, torch.Generator().manual_seed(0))
    return freeze(model, device, stage.numerics)


def milliseconds_a_step(learner: Trainer, steps: int) -> Callable[[], float]:
    """Train an epoch without evaluation; return the milliseconds per step."""

    def run() -> float:
        with deterministic(learner.spec.numerics):
            began = time.perf_counter()
            learner._train()  # ends with a value on the CPU, so the device has finished
            return 1000 * (time.perf_counter() - began) / steps

    return run


def steps_of(
    family: str, data: Path, specs: tuple[Sequence[StageSpec], StageSpec], steps: int, rounds: int
) -> dict[str, list[float]]:
    """Return milliseconds per step by variant and round; call it in a new process."""
    stages, alone = specs
    ways = learners(stages, alone, open_prepared(data))
    return bench.in_rounds({name: milliseconds_a_step(ways[name], steps) for name in KINDS}, rounds)


# ---- an epoch ----------------------------------------------------------------------------------

OURS = "ours"
SAME = "same numerics, no loader worker"
PLAIN = Numerics()  # PyTorch's defaults
_epochs: dict[str, Callable[[], None]] = {}  # trains an epoch, by side; kept by its process


def prepare_ours(side: str, data: Path, spec: StageSpec) -> None:
    """Prepare our trainer, which uses another bank of views in every epoch."""
    at_hand = DeviceData(open_prepared(data), torch.device(spec.numerics.device_type))
    learner = Trainer(spec, at_hand)

    def epoch() -> None:
        with deterministic(spec.numerics):
            learner._train()
        learner.rows.append(EpochMetrics(learner.epoch + 1, 0.0, 0.0, 0.0))

    _epochs[side] = epoch


def prepare_plain(side: str, data: Path, spec: StageSpec, workers: int, numerics: Numerics) -> None:
    """Prepare a plain training loop, with data and model loaded."""
    from torch.utils.data import DataLoader
    from torchvision import transforms

    prepared = open_prepared(data)
    device, recipe = torch.device(spec.numerics.device_type), spec.recipe
    transform = transforms.Compose(
        [
            transforms.RandomCrop(prepared.info.image_size, padding=prepared.info.image_size // 8),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(prepared.info.mean, prepared.info.std),
        ]
    )
    loader = DataLoader(
        Pictures(prepared, transform),
        recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    form = memory_format(numerics)
    model = build(spec.architecture, torch.Generator().manual_seed(0)).to(device)
    model = model.to(memory_format=form)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )

    def epoch() -> None:
        model.train()
        total = 0.0
        for images, labels in loader:
            with autocast(numerics):
                logits = model(images.to(device).contiguous(memory_format=form))
            loss = F.cross_entropy(logits.float(), labels.to(device))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item()

    def as_ours() -> None:
        with deterministic(numerics):
            epoch()

    _epochs[side] = epoch if numerics == PLAIN else as_ours


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images in memory, converted to PIL images one by one, as in torchvision's CIFAR-10."""

    def __init__(self, prepared: PreparedData, transform: Callable[[Any], Tensor]) -> None:
        train = prepared.train()
        self.images = train.images.transpose(0, 2, 3, 1).copy()
        self.labels = train.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def run_epoch(side: str) -> float:
    """Train the next epoch of a side in its process; return the seconds."""
    began = time.perf_counter()
    _epochs[side]()
    return time.perf_counter() - began


def epochs_of(
    data: Path, spec: StageSpec, workers: Sequence[int], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds per epoch by side and round."""
    with contextlib.ExitStack() as stack:
        sides = {OURS: stack.enter_context(bench.processes(1))}
        ready = [sides[OURS].submit(prepare_ours, OURS, data, spec)]
        plain = {f"plain loop, {count} loader workers": (count, PLAIN) for count in workers}
        plain[SAME] = (0, spec.numerics)
        for name, settings in plain.items():
            sides[name] = stack.enter_context(bench.processes(1))
            ready.append(sides[name].submit(prepare_plain, name, data, spec, *settings))
        for job in ready:
            job.result()
        actions = {
            name: functools.partial(_epoch_on, process, name) for name, process in sides.items()
        }
        return bench.in_rounds(actions, rounds)


def _epoch_on(process: Executor, side: str) -> float:
    return float(process.submit(run_epoch, side).result())


# ---- the command -------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--parts", type=bench.comma(str), default=list(PARTS), help="(all)")
    parser.add_argument("--images", type=int, default=512, help="of a round of steps (512)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20, help="of steps (20)")
    parser.add_argument("--epoch-images", type=int, default=5000, help="of an epoch (5000)")
    parser.add_argument("--epoch-rounds", type=int, default=7, help="(7)")
    parser.add_argument(
        "--workers",
        type=bench.comma(int),
        default=[0, 1, 2],
        help="of the plain loop's loader (0,1,2)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"--parts {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    began = time.perf_counter()
    figures: dict[str, Any] = {}
    with bench.workplace() as place:
        for part in args.parts:
            images = args.epoch_images if part == "epoch" else args.images
            folder = bench.image_folder(
                place / part, args.data_dir, train=images, validation=10, seed=args.seed
            )
            measure = _epoch if part == "epoch" else _steps
            figures[part] = measure(part, folder, place / "store", args)
    sizes = {
        "images": args.images,
        "batch_size": args.batch_size,
        "rounds": args.rounds,
        "epoch_images": args.epoch_images,
        "epoch_rounds": args.epoch_rounds,
        "device": args.device,
    }
    bench.save(args, began, sizes, figures)


def _steps(family: str, folder: Path, store: Path, args: argparse.Namespace) -> dict[str, Any]:
    names = CHAINS[family]
    stages, data = _planned(folder, store, names, "none", args)
    alone, _ = _planned(folder, store, names[-1:], "none", args)
    steps = -(-args.images // args.batch_size)
    times = bench.alone(steps_of, family, data.path, (stages, alone[-1]), steps, args.rounds)
    medians = {name: bench.Spread.of(values).median for name, values in times.items()}
    ratios = {f"{a}/{b}": bench.paired_ratio(times[a], times[b]) for a, b in RATIOS}
    bench.table(
        f"{names[-1]} under {', '.join(names[:-1])}: ms a step of {args.batch_size} images",
        ("", *KINDS, *ratios),
        [(names[-1], *(medians[kind] for kind in KINDS), *ratios.values())],
    )
    return {"chain": names, "milliseconds": medians, "ratios": ratios, "rounds": times}


def _epoch(part: str, folder: Path, store: Path, args: argparse.Namespace) -> dict[str, Any]:
    planned, data = _planned(folder, store, ("resnet8",), "crop+flip", args)
    times = epochs_of(data.path, planned[-1], args.workers, args.epoch_rounds)
    medians = {name: bench.Spread.of(values).median for name, values in times.items()}
    fastest = min((name for name in times if name not in (OURS, SAME)), key=medians.__getitem__)
    ratio = bench.paired_ratio(times[OURS], times[fastest])
    bench.table(
        f"an epoch of resnet8 on {args.epoch_images} images, crop and flip: median seconds",
        ("", "seconds", "ours beside it"),
        [
            (name, medians[name], bench.paired_ratio(times[OURS], values))
            for name, values in times.items()
        ],
    )
    return {
        "seconds": medians,
        "fastest_plain": fastest,
        "ours/plain": ratio,
        "ours/same numerics": bench.paired_ratio(times[OURS], times[SAME]),
        "rounds": times,
    }


def _planned(
    folder: Path, store: Path, models: Sequence[str], augment: str, args: argparse.Namespace
) -> tuple[list[StageSpec], PreparedData]:
    family = "plain" if models[0].startswith("plain") else "resnet"
    stages, data = bench.planned(
        folder, store, models, family=family, augment=augment, batch_size=args.batch_size
    )
    numerics = NUMERICS[args.device]
    return [replace(stage, numerics=numerics) for stage in stages], data


if __name__ == "__main__":
    main()
