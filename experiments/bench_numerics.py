"""Measure the speed of precisions and memory formats, the basis of ``recipe.NUMERICS``.

    python experiments/bench_numerics.py [--data-dir DIR] --json FILE

Milliseconds per training step (128 images, labels alone, no augmentation) and per evaluation batch
(as large as the library's on this device), for each network and variant:

contiguous     float32, images as [N, C, H, W]
channels_last  float32, images as [N, H, W, C] in memory
bf16           channels_last under bfloat16 autocast; left out if its first step takes more than ten
               times that of float32, as on processors without instructions for it
compiled       channels_last, with the network's training step compiled by torch.compile; left out
               if torch finds no compiler. Evaluation is not compiled, as in the library

Processes either keep freed memory (determinism.disable_malloc_trim, as the library does) or return
it as by the system's defaults. The variants take turns, in two processes with one thread each. A
figure is the median over rounds, a ratio is the median of the ratios per round.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
import torch

from dgkd_search.data import open_prepared
from dgkd_search.models import family_names, get_family
from dgkd_search.training import determinism as numerics
from dgkd_search.training.batches import DeviceData, evaluation_batch
from dgkd_search.training.recipe import NUMERICS, Numerics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.trainer import Trainer

MODELS = ("resnet8", "resnet20", "plain2", "plain10")
WAYS = ("contiguous", "channels_last", "bf16", "compiled")
MEMORY = ("kept", "handed back")
_TOO_SLOW = 10  # times a float32 step

_learners: dict[str, Trainer] = {}  # trainers of this process, by variant


def settings(way: str, device: str) -> Numerics:
    base = replace(NUMERICS[device], precision="fp32", memory_format="channels_last")
    changes: dict[str, dict[str, Any]] = {
        "contiguous": {"memory_format": "contiguous"},
        "channels_last": {},
        "bf16": {"precision": "bf16"},
        "compiled": {"compiled": True},
    }
    return replace(base, **changes[way])


def begin(memory: str) -> None:
    """Set what this process does with freed memory, before it trains anything."""
    if memory == "handed back":
        numerics.disable_malloc_trim = _nothing  # type: ignore[assignment]


def _nothing() -> None:
    """Do nothing, so that freed memory is returned to the system."""


def prepare(data: Path, spec: StageSpec, way: str, limit: float | None) -> float | str:
    """Prepare and warm up a trainer.

    Args:
        limit: milliseconds that its first step may take; None for no limit.

    Returns:
        Milliseconds of that step, or the reason why the variant is left out.
    """
    # The first step is measured on one mini-batch: hundreds of slow ones would take hours.
    at_hand = DeviceData(open_prepared(data), torch.device(spec.numerics.device_type))
    learner = Trainer(spec, at_hand)
    rows = torch.arange(min(spec.recipe.batch_size, at_hand.count))
    try:
        with numerics.deterministic(spec.numerics):
            images = next(iter(at_hand.batches([rows], learner._views, 0)))[1]
            began = time.perf_counter()
            learner._gradients(*learner._batch(rows.to(at_hand.device), images, 0, ()))
            first = 1000 * (time.perf_counter() - began)
            if limit is not None and first > limit:
                return f"its first step took {first:.0f} ms"
            learner._train()
            learner._accuracy()
    except Exception as error:
        if not spec.numerics.compiled:
            raise
        return f"torch.compile: {type(error).__name__}"
    _learners[way] = learner
    return first


def measure(way: str) -> tuple[float, float]:
    """Return the milliseconds of a training step and of an evaluation batch."""
    learner = _learners[way]
    info, recipe = learner.data.info, learner.spec.recipe
    size = evaluation_batch(learner.data.device, info.image_size)
    with numerics.deterministic(learner.spec.numerics):
        began = time.perf_counter()
        learner._train()  # both end with a value on the CPU, so the device has finished
        trained = time.perf_counter()
        learner._accuracy()
        ended = time.perf_counter()
    steps, batches = -(-info.train_count // recipe.batch_size), -(-info.validation_count // size)
    return 1000 * (trained - began) / steps, 1000 * (ended - trained) / batches


def forget() -> None:
    _learners.clear()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--models", type=bench.comma(str), default=list(MODELS), help="(four)")
    parser.add_argument("--ways", type=bench.comma(str), default=list(WAYS), help="(all)")
    parser.add_argument("--images", type=int, default=256, help="trained on in a round (256)")
    parser.add_argument("--validation", type=int, help="images (an evaluation batch)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    if unknown := set(args.ways) - set(WAYS):
        parser.error(f"--ways {', '.join(unknown)}: choose from {', '.join(WAYS)}")
    args.validation = args.validation or evaluation_batch(torch.device(args.device), bench.SIZE)
    began = time.perf_counter()
    with bench.workplace() as place, contextlib.ExitStack() as stack:
        folder = bench.image_folder(
            place / "images",
            args.data_dir,
            train=args.images,
            validation=args.validation,
            seed=args.seed,
        )
        sides = {memory: stack.enter_context(bench.processes(1)) for memory in MEMORY}
        for begun in [side.submit(begin, memory) for memory, side in sides.items()]:
            begun.result()
        figures = {name: _model(name, sides, folder, place / "store", args) for name in args.models}
    sizes = {
        name: getattr(args, name)
        for name in ("images", "validation", "batch_size", "rounds", "device")
    }
    bench.save(args, began, sizes, figures)


def _model(
    name: str, sides: dict[str, Any], folder: Path, store: Path, args: argparse.Namespace
) -> dict[str, Any]:
    family = next(f for f in family_names() if name in {m.name for m in get_family(f).members})
    (spec,), data = bench.planned(
        folder, store, [name], family=family, augment="none", batch_size=args.batch_size
    )
    skipped: dict[str, str] = {}
    actions = {}
    for memory, side in sides.items():
        limit: float | None = None
        for way in args.ways:
            numbers = settings(way, args.device)
            own = replace(spec, numerics=numbers)
            allowed = limit if way == "bf16" else None
            found = side.submit(prepare, data.path, own, way, allowed).result()
            if isinstance(found, str):
                skipped[way] = found
                continue
            if numbers.precision == "fp32" and not numbers.compiled:
                limit = _TOO_SLOW * found
            actions[memory, way] = functools.partial(_measure_on, side, way)
    times: dict[tuple[str, str], list[tuple[float, float]]] = bench.in_rounds(actions, args.rounds)
    for side in sides.values():
        side.submit(forget).result()
    return _report(name, times, skipped, args)


def _measure_on(side: Executor, way: str) -> tuple[float, float]:
    return side.submit(measure, way).result()


def _report(
    name: str,
    times: dict[tuple[str, str], list[tuple[float, float]]],
    skipped: dict[str, str],
    args: argparse.Namespace,
) -> dict[str, Any]:
    base = times.get(("kept", "channels_last")) or next(iter(times.values()))
    figures: dict[str, Any] = {"skipped": skipped}
    rows = []
    for (memory, way), values in times.items():
        step, evaluation = (bench.Spread.of([v[i] for v in values]).median for i in (0, 1))
        ratios = [bench.paired_ratio([v[i] for v in values], [b[i] for b in base]) for i in (0, 1)]
        figures[f"{way}, memory {memory}"] = {
            "step_ms": step,
            "evaluation_ms": evaluation,
            "step_ratio": ratios[0],
            "evaluation_ratio": ratios[1],
        }
        rows.append((way, memory, step, ratios[0], evaluation, ratios[1]))
    bench.table(
        f"{name} on {args.device}: ms a step of {args.batch_size} images and an evaluation batch, "
        "and beside channels_last with memory kept",
        ("", "freed memory", "step", "ratio", "evaluation", "ratio"),
        rows,
    )
    for way, why in skipped.items():
        print(f"{way} left out: {why}")
    return figures


if __name__ == "__main__":
    main()
