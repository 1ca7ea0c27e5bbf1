"""Measure how much accuracy a limited number of views costs.

    python experiments/bench_banks.py [--data-dir DIR] [--views 1,8,32,48] --json FILE

resnet8 learns from resnet14 with crop and flip. The variants differ only in the student's views:

V views    epoch e trains on view e mod V of every image, and the teacher's outputs on V banks of
           views are stored (as in dgkd-search; V = epochs means a new view in every epoch)
fresh      every epoch draws new views from another generator, and the teacher is run on every
           batch; V = epochs must equal this in distribution

All variants have the same teacher, split and number of seeds (--seeds: initialization, order and,
for fresh, views). The table shows mean and standard error of the validation accuracy after the last
epoch, and of the differences to fresh by seed. The two students of a difference share teacher,
split and validation images but not the initialization. Two processes with one thread each train
concurrently.

With crop and flip, an image has 9 · 9 · 2 = 162 views; they matter more with fewer images.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bench
import torch
from torch import Tensor

from dgkd_search import run_trial
from dgkd_search.data import PreparedData
from dgkd_search.data.augmentation import Views
from dgkd_search.store.store import Store
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model
from dgkd_search.utils.hashing import derive_seed

FRESH = "fresh"


@dataclass(frozen=True)
class Setting:
    """The settings that all students of the benchmark share."""

    folder: Path
    store: Path
    teacher: str
    student: str
    options: tuple[tuple[str, Any], ...]
    views: int  # views of the teacher: one per epoch

    def chain(self) -> tuple[tuple[StageSpec, ...], PreparedData]:
        return bench.planned(
            self.folder,
            self.store,
            [self.teacher, self.student],
            **dict(self.options),
            views=self.views,
        )


class FreshData(DeviceData):
    """Training data with new views in every epoch, independent of the requested bank."""

    def __init__(self, prepared: PreparedData, device: torch.device, seed: int) -> None:
        super().__init__(prepared, device)
        self.seed = seed

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        own = Views(views.count, views.image_size, views.augment, self.seed)
        return super().batches(batches, own, bank)


def train_teacher(setting: Setting) -> float:
    """Train the teacher into the store; return its validation accuracy."""
    stages, data = setting.chain()
    return run_trial(stages[:1], data, setting.store).val_accuracy


def train_student(setting: Setting, way: str, seed: int) -> tuple[float, float]:
    """Train a student; return its validation accuracy after the last epoch, and the seconds."""
    began = time.perf_counter()
    stages, data = setting.chain()
    teacher, student = stages
    epochs = student.recipe.epochs
    views = epochs if way == FRESH else int(way)
    student = replace(student, train_seed=seed, recipe=replace(student.recipe, views=views))
    if way == FRESH:
        value = _fresh(setting, teacher, replace(student, outputs="online"), data)
    else:
        value = run_trial((teacher, student), data, setting.store).val_accuracy
    return value, time.perf_counter() - began


def _fresh(setting: Setting, teacher: StageSpec, student: StageSpec, data: PreparedData) -> float:
    entry = Store(setting.store).get(teacher.key)
    assert entry is not None
    device = torch.device(student.numerics.device_type)
    source = load_model(teacher, entry.tensors)
    seed = derive_seed("fresh", student.train_seed)
    learner = Trainer(
        student,
        FreshData(data, device, seed),
        OnlineTeachers([source], device, student.numerics),
    )
    while not learner.finished:
        learner.train_epoch()
    return learner.rows[-1].val_accuracy


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--images", type=int, default=1600, help="for training (1600)")
    parser.add_argument("--validation", type=int, default=2000, help="images (2000)")
    parser.add_argument("--epochs", type=int, default=48, help="of the student (48)")
    parser.add_argument("--teacher-epochs", type=int, default=24, help="(24)")
    parser.add_argument(
        "--views", type=bench.comma(int), help="of the student (1, 8, 32 and as many as epochs)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="repeats (3)")
    parser.add_argument("--teacher", default="resnet14")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--family", default="resnet")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--processes", type=int, default=2, help="at once (2)")
    args = parser.parse_args(arguments)
    counts = args.views or [v for v in (1, 8, 32) if v < args.epochs] + [args.epochs]
    if bad := [v for v in counts if not 1 <= v <= args.epochs]:
        parser.error(f"--views {bad[0]}: give 1 to {args.epochs}, the epochs")
    ways = [*map(str, sorted(set(counts))), FRESH]
    began = time.perf_counter()
    with bench.workplace() as place:
        folder = bench.image_folder(
            place / "images",
            args.data_dir,
            train=args.images,
            validation=args.validation,
            seed=args.seed,
        )
        options = {
            "family": args.family,
            "epochs": args.teacher_epochs,
            "student_epochs": args.epochs,
            "batch_size": args.batch_size,
            "lr": args.lr,
            "schedule": "cosine",
            "augment": "crop+flip",
            "weight_decay": 5e-4,
            "gpus_per_trial": 0,
        }
        setting = Setting(
            folder,
            place / "store",
            args.teacher,
            args.student,
            tuple(options.items()),
            max(args.epochs, args.teacher_epochs),
        )
        teacher, values, seconds = _train(setting, ways, args)
    figures = _report(ways, teacher, values, args)
    figures["student_seconds"] = seconds
    sizes = {
        name: getattr(args, name)
        for name in (
            *("images", "validation", "epochs", "teacher_epochs", "seeds", "teacher", "student"),
            *("batch_size", "lr", "processes"),
        )
    }
    bench.save(args, began, sizes, figures)


def _train(
    setting: Setting, ways: Sequence[str], args: Any
) -> tuple[float, dict[str, list[float]], dict[str, list[float]]]:
    """Return the teacher's accuracy, and accuracies and seconds of each variant by seed."""
    values = {way: [0.0] * args.seeds for way in ways}
    seconds = {way: [0.0] * args.seeds for way in ways}
    with bench.processes(args.processes) as pool:
        teacher = pool.submit(train_teacher, setting).result()
        print(f"{setting.teacher}: {teacher:.2f} %", file=sys.stderr)
        jobs: dict[Future[tuple[float, float]], tuple[str, int]] = {}
        # Fresh variants run their teacher, so they take longest and come first.
        for way in reversed(ways):
            for seed in range(args.seeds):
                jobs[pool.submit(train_student, setting, way, seed)] = (way, seed)
        for job in as_completed(jobs):
            way, seed = jobs[job]
            values[way][seed], seconds[way][seed] = job.result()
            print(f"{way}, seed {seed}: {values[way][seed]:.2f} %", file=sys.stderr, flush=True)
    return teacher, values, seconds


def _report(
    ways: Sequence[str], teacher: float, values: dict[str, list[float]], args: Any
) -> dict[str, Any]:
    differences = {
        way: bench.Spread.of([a - b for a, b in zip(values[way], values[FRESH], strict=True)])
        for way in ways
    }
    spreads = {way: bench.Spread.of(values[way]) for way in ways}
    bench.table(
        f"{args.student} under {args.teacher} ({teacher:.2f} %), {args.images} images, "
        f"{args.epochs} epochs, {args.seeds} seeds: validation accuracy in percent",
        ("views", "accuracy", "to fresh"),
        [(way, str(spreads[way]), "" if way == FRESH else str(differences[way])) for way in ways],
    )
    return {
        "teacher": teacher,
        "views": {
            way: {
                "values": values[way],
                "mean": spreads[way].mean,
                "error": spreads[way].error,
                "difference": differences[way].mean,
                "difference_error": differences[way].error,
            }
            for way in ways
        },
    }


if __name__ == "__main__":
    main()
