"""Check dgkd-search on a GPU in at most 8 minutes: one JSON line per step.

    . .whl/there.sh; python3 .whl/gpu_check.py 2>&1 | tee $OUT/check.jsonl

Steps run in sequence, the most valuable first, each in a new process with a time limit, so that a
step that crashes, hangs or blocks the device does not affect the others.

    --only a,b      only these steps
    --skip a,b      all steps except these
    --total 480     seconds for everything; a step with less than 10 seconds left is skipped
    --small         tiny sizes, for a rehearsal on a CPU
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from unittest import mock

if TYPE_CHECKING:  # each step imports what it needs, in its own process
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dgkd_search.data import PreparedData
    from dgkd_search.training.batches import DeviceData, TrainingData
    from dgkd_search.training.recipe import Numerics
    from dgkd_search.training.spec import StageSpec
    from dgkd_search.training.teachers import Teachers
    from dgkd_search.training.trainer import Trainer

# name, time limit in seconds, the question it answers
STEPS = [
    ("machine", 45, "does bf16 convolution run; is fp32 TF32; is MPS there"),
    ("trial", 60, "one chain through the API on this device: stored and online sources"),
    ("search", 100, "dgkd-search with Ray, 4 trials at once on 0.25 GPU each, repeats, --resume"),
    ("same", 60, "bits: twice, in another process, from a checkpoint, beside a busy neighbor"),
    ("steps", 75, "steps a second as now; kernels and synchronizations a step; GPU busy share"),
    ("graphs", 60, "the same steps as CUDA graphs: 1, 4 and 8 students at once; same bits?"),
    ("replay", 90, "the product's steps as CUDA graphs and one by one: steps a second; same bits?"),
    ("share", 100, "students a second with 1, 4 and 8 processes on the GPU, and under MPS"),
    ("agree", 35, "one student's accuracy: GPU bf16, GPU fp32, CPU fp32; trained on either"),
    ("memory", 40, "device memory over 10 trials in one process, some pruned, one failed"),
    ("oom", 40, "too little memory: one line? which class of error?"),
    ("own", 30, "networks of one's own: .view, dropout, logits' type"),
    ("stream", 40, "images decoded by workers: pictures a second, and the end of the workers"),
    ("fused", 25, "grouped convolution of 8 students against 8 convolutions"),
    ("compile", 75, "--compile: seconds to begin, steps a second, same bits twice"),
    ("speed", 30, "weights kept in bf16, epoch-wise views, fused SGD: what each would save"),
]
HERE = Path(__file__).resolve()

# State of the step that this process runs; set by ``run_step``.
SMALL: bool
WORK: Path
DEVICE: torch.device


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--total", type=float, default=480)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--step")
    parser.add_argument("--work")
    known = parser.parse_args()
    if known.step:
        return run_step(known.step, Path(known.work), known.small)
    only = [name for name in known.only.split(",") if name]
    skip = set(known.skip.split(","))
    unknown = (set(only) | (skip - {""})) - {name for name, *_ in STEPS}
    if unknown:
        parser.error(f"no steps {unknown}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        for name, limit, _ in STEPS:
            if (only and name not in only) or name in skip:
                continue
            left = known.total - (time.monotonic() - began)
            if left < 10:
                say(step=name, ok=None, why="no time left")
                continue
            watch_step(name, work, min(limit * (3 if known.small else 1), left), known.small)
    say(step="all", took=round(time.monotonic() - began, 1))
    return 0


def watch_step(name: str, work: str, limit: float, small: bool) -> None:
    """Run a step in a new process for at most ``limit`` seconds, and print its line."""
    start = time.monotonic()
    command = [sys.executable, str(HERE), "--step", name, "--work", work]
    command += ["--small"] if small else []
    environment = {**os.environ, "XDG_CACHE_HOME": f"{work}/cache", "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        cwd=work,
    )
    try:
        out, err = child.communicate(timeout=limit)
        late = False
    except subprocess.TimeoutExpired:
        late = True
        out, err = end_group(child)
    seconds = round(time.monotonic() - start, 1)
    result: dict[str, object] = {}
    for line in out.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                result.update(json.loads(line))
    problem = None
    if late:
        problem = f"stopped after {limit:.0f} s; so far as below"
    elif child.returncode != 0 or not result:
        problem = " | ".join(err.strip().splitlines()[-3:])[:600] or f"rc {child.returncode}"
    ok = problem is None and not result.pop("bad", None)
    for key in ("step", "ok", "took", "problem"):
        if key in result:
            result[f"{key}_"] = result.pop(key)
    say(step=name, ok=ok, took=seconds, **({"problem": problem} if problem else {}), **result)


def end_group(child: subprocess.Popen[str]) -> tuple[str, str]:
    """End a step's process group, including all processes it started; return its output."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, 15)
    try:
        return child.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        return child.communicate()


def say(**values: object) -> None:
    print(json.dumps(values, default=str), flush=True)


def run_step(name: str, work: Path, small: bool) -> int:
    warnings.simplefilter("ignore")
    global SMALL, WORK, DEVICE
    SMALL, WORK = small, work
    import torch

    DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    globals()[f"step_{name}"]()
    return 0


# --- shared by steps --------------------------------------------------------------------------


def sync() -> None:
    import torch

    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def arrays(train: int, rest: int = 1000, size: int | None = None, classes: int = 10) -> Path:
    """Make learnable images of CIFAR's shape: one pattern per class, shifted, with noise."""
    import numpy as np

    size = size or sizes(32, 16)
    path = WORK / f"arrays-{train}-{rest}-{size}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    low = rng.normal(size=(classes, size // 4, size // 4, 3))
    patterns = low.repeat(4, 1).repeat(4, 2)

    def part(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        labels = rng.integers(0, classes, count)
        images = np.empty((count, size, size, 3), np.uint8)
        for begin in range(0, count, 5000):
            some = labels[begin : begin + 5000]
            shifts = rng.integers(-4, 5, (len(some), 2))
            for i, (label, (y, x)) in enumerate(zip(some, shifts, strict=True)):
                pixels = np.roll(patterns[label], (y, x), (0, 1))
                noise = rng.normal(scale=2.0, size=pixels.shape)
                images[begin + i] = np.clip(128 + 40 * (pixels + noise), 0, 255)
        return images, labels.astype(np.int64)

    out: dict[str, Any] = {}
    for prefix, count in (("train", train), ("val", rest), ("test", rest)):
        out[f"{prefix}_images"], out[f"{prefix}_labels"] = part(count)
    unfinished = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(unfinished, **out)
    unfinished.rename(path)
    return path


def sizes(large: int, small: int) -> int:
    return small if SMALL else large


def planned(
    names: Sequence[str], train: int, **options: Any
) -> tuple[tuple[StageSpec, ...], PreparedData]:
    import dgkd_search

    # All options are explicit, so that a rehearsal on a CPU takes the same path.
    said: dict[str, Any] = {
        "dataset": "arrays",
        "data_dir": str(arrays(train, sizes(1000, 200))),
        "batch_size": 128,
    }
    said |= {"store": str(WORK / "plans"), "augment": "crop+flip"} | options
    return dgkd_search.plan(names, **said)


def checksum(trainer: Trainer) -> str:
    return hashlib.sha256(trainer.weights()).hexdigest()[:16]


def short(error: BaseException, length: int = 240) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:length]


Net = tuple[str, str, list[str] | None]  # name, family, the teachers

NETS: list[Net] = [
    ("resnet8", "resnet", ["resnet32", "resnet26", "resnet20", "resnet14"]),
    ("resnet20", "resnet", ["resnet56", "resnet44", "resnet32", "resnet26"]),
    ("plain2", "plain", ["plain10", "plain8", "plain6", "plain4"]),
    ("plain10", "plain", None),
]


def make_trainer(
    name: str,
    family: str,
    teachers: list[str] | None,
    outputs: str = "stored",
    train: int = 12_800,
    epochs: int = 4,
    numerics: Callable[[Numerics], Numerics] | None = None,
    drop_prob: float = 0.0,
) -> Trainer:
    """Return the product's trainer, with untrained teachers, whose outputs cost the same."""
    from dgkd_search.training.determinism import deterministic
    from dgkd_search.training.streaming import open_data
    from dgkd_search.training.trainer import Trainer

    if not teachers:
        stages, data = planned([name], train, family=family, epochs=epochs)
    else:
        stages, data = planned(
            [*teachers, name],
            train,
            family=family,
            epochs=epochs,
            outputs=outputs,
            drop_prob=drop_prob,
        )
    spec = (
        stages[-1]
        if numerics is None
        else replace(stages[-1], numerics=numerics(stages[-1].numerics))
    )
    at_hand = open_data(data, DEVICE, 1)
    frozen = untrained_teachers(stages[:-1], spec, at_hand) if teachers else None
    with deterministic(spec.numerics):
        return Trainer(spec, at_hand, frozen)


def untrained_teachers(
    stages: Sequence[StageSpec], student: StageSpec, data: TrainingData
) -> Teachers:
    import torch

    from dgkd_search.models import build
    from dgkd_search.training.cuda_graphs import graphs_apply
    from dgkd_search.training.teachers import (
        CachedTeachers,
        OnlineTeachers,
        compute_outputs,
        freeze,
    )
    from dgkd_search.training.trainer import views_of

    class FirstBank(CachedTeachers):
        """Teachers that return the first bank's outputs for every bank, to measure only the step."""

        def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
            return super().logits(which, images, rows, 0)

    numerics = student.numerics
    models = [build(stage.architecture, torch.Generator().manual_seed(1)) for stage in stages]
    if student.outputs == "online":
        return OnlineTeachers(models, DEVICE, numerics, graphs_apply(student, DEVICE))
    cached = FirstBank(len(models))
    views = views_of(data.info, student.recipe.augment)
    said = [
        compute_outputs(freeze(m, DEVICE, numerics), data, views, 0, numerics).to(DEVICE)
        for m in models
    ]
    cached.use(0, said)
    return cached


# --- steps ------------------------------------------------------------------------------------


def step_machine() -> None:
    import torch
    from torch.nn import functional as F

    values: dict[str, object] = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "shm_GB": round(os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize / 1e9, 1)
        if Path("/dev/shm").is_dir()
        else None,
        "device": str(DEVICE),
        "nvml_count": torch.cuda.device_count(),
        "available": torch.cuda.is_available(),
    }
    if DEVICE.type == "cuda":
        values |= {
            "gpu": torch.cuda.get_device_name(0),
            "capability": torch.cuda.get_device_capability(0),
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "mps_control": bool(
                subprocess.run(
                    "command -v nvidia-cuda-mps-control", shell=True, capture_output=True
                ).stdout
            ),
            "compute_mode": subprocess.run(
                "nvidia-smi --query-gpu=compute_mode,driver_version --format=csv,noheader",
                shell=True,
                capture_output=True,
                text=True,
            ).stdout.strip(),
        }
    x = torch.randn(64, 16, 32, 32, device=DEVICE)
    w = torch.randn(16, 16, 3, 3, device=DEVICE, requires_grad=True)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        y = F.conv2d(x.contiguous(memory_format=torch.channels_last), w, padding=1)
    torch.autograd.backward(y.float().sum())
    from dgkd_search.training.determinism import deterministic
    from dgkd_search.training.recipe import Numerics

    exact = F.conv2d(x.double().cpu(), w.detach().double().cpu(), padding=1)
    with deterministic(Numerics(DEVICE.type, 1, "fp32")), torch.no_grad():
        error = float(
            (F.conv2d(x, w, padding=1).double().cpu() - exact).abs().max() / exact.abs().max()
        )
    values["fp32_error"] = f"{error:.1e}"
    values["fp32_is_tf32"] = error > 2e-5
    doctor = subprocess.run(
        [sys.executable, "-m", "dgkd_search", "doctor", "--no-ray"], capture_output=True, text=True
    )
    values["doctor"] = [
        doctor.returncode,
        *re.findall(r"(?m)^(?:GPU|by default).*$", doctor.stdout),
    ]
    values["bad"] = doctor.returncode != 0
    say(**values)


def step_trial() -> None:
    import dgkd_search

    train = sizes(5000, 300)
    for outputs in ("stored", "online"):
        stages, data = planned(
            ["resnet20", "resnet14", "resnet8"],
            train,
            family="resnet",
            epochs=sizes(3, 1),
            outputs=outputs,
            lr=0.05,
        )
        began = time.monotonic()
        result = dgkd_search.run_trial(stages, data, WORK / f"trial-{outputs}")
        say(
            **{
                f"{outputs}_accuracies": {s.name: round(s.val_accuracy, 2) for s in result.stages},
                f"{outputs}_s": round(time.monotonic() - began, 2),
                "numerics": vars(stages[-1].numerics),
            }
        )


def step_search() -> None:
    """Run the command with Ray, sampling nvidia-smi meanwhile."""
    data = arrays(sizes(5000, 200), sizes(1000, 100))
    share = ["--gpus-per-trial", "0.25"] if DEVICE.type == "cuda" else ["--concurrency", "2"]
    out, store = WORK / "run", WORK / "store"
    command = [
        "dgkd-search", "--dataset", "arrays", "--data-dir", str(data), "--family", "resnet",
        "--teacher", "resnet26", "--student", "resnet8", "--epochs", str(sizes(4, 1)), "--batch-size", "128",
        "--lr", "0.05", "--budget", str(sizes(8, 2)), "--confirm", "off" if SMALL else "1x3", "--store", str(store), "--out", str(out),
        "--json", *share,
    ]  # fmt: skip
    seen: list[tuple[int, int]] = []
    over = threading.Event()
    query = "nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits"

    def watch() -> None:
        while not over.wait(0.5):
            with contextlib.suppress(Exception):
                text = subprocess.run(
                    query, shell=True, capture_output=True, text=True, timeout=5
                ).stdout
                used, memory = text.splitlines()[0].split(",")
                seen.append((int(used), int(memory)))

    if DEVICE.type == "cuda":
        threading.Thread(target=watch, daemon=True).start()
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    over.set()
    tail = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    values: dict[str, object] = {
        "rc": done.returncode,
        "wall": round(time.monotonic() - began, 1),
        "bad": done.returncode != 0,
    }
    try:
        summary = json.loads(done.stdout.strip().splitlines()[-1])
        keep = ("accuracies", "repeats", "seconds", "work", "gave_up")
        values["summary"] = {k: v for k, v in summary.items() if k in keep} or str(summary)[:500]
    except (ValueError, IndexError):
        values["said"] = " ".join(tail)[:400]
    if seen:
        values["gpu_util_mean"] = round(sum(u for u, _ in seen) / len(seen))
        values["gpu_util_max"] = max(u for u, _ in seen)
        values["memory_max_MiB"] = max(m for _, m in seen)
    say(**values)
    # The finished run is resumed with two more trials: workers, stored outputs, device again.
    more = subprocess.run(
        ["dgkd-search", "--resume", str(out), "--budget", str(sizes(10, 3)), "--json"],
        capture_output=True,
        text=True,
    )
    say(resume_rc=more.returncode, **({"bad": True} if more.returncode else {}))


def step_same() -> None:
    """Compare bits of students trained twice, in another process, from a checkpoint, and beside
    another process."""
    train = sizes(3000, 200)
    nets: list[Net] = [
        ("resnet8", "resnet", ["resnet14"]),
        ("plain4", "plain", None),
        ("wrn_10_1", "wrn", None),
        ("vgg8", "vgg", None),
    ]
    if os.environ.get("GPU_CHECK_CHILD"):
        print(json.dumps({"child": trained_checksum(nets[0], train)}))
        return
    values = {}
    first = ""
    for net in nets if not SMALL else nets[:2]:
        sums = [trained_checksum(net, train) for _ in range(2)]
        values[net[0]] = sums[0] == sums[1]
        first = first or sums[0]
    say(twice=values)
    checkpoint = resumed_checksum(nets[0], train) == first
    say(from_checkpoint=checkpoint)
    environment = {**os.environ, "GPU_CHECK_CHILD": "1"}
    command = child_command("same")
    said = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    process = first in said
    # Beside another process that keeps the device busy.
    code = (
        "import torch, time; d = torch.device('cuda' if torch.cuda.is_available() else 'cpu');"
        "a = torch.randn(2048, 2048, device=d); t = time.time()\n"
        "while time.time() - t < 30: a = (a @ a).tanh()"
    )
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(5)
        said = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    finally:
        busy.kill()
        busy.wait()
    neighbor = first in said
    bad = not (all(values.values()) and checkpoint and process and neighbor)
    say(other_process=process, beside_neighbour=neighbor, bad=bad)


def trained_checksum(net: Net, train: int) -> str:
    trainer = make_trainer(*net, train=train, epochs=2)
    while not trainer.finished:
        trainer.train_epoch()
    return checksum(trainer)


def resumed_checksum(net: Net, train: int) -> str:
    """Return the checksum of a student that a second trainer resumes after its first epoch."""
    from dgkd_search.training.trainer import Trainer

    half = make_trainer(*net, train=train, epochs=2)
    half.train_epoch()
    other = make_trainer(*net, train=train, epochs=2)
    resumed = Trainer(other.spec, other.data, other.teachers)
    resumed.restore(half.checkpoint(), half.rows)
    resumed.train_epoch()
    return checksum(resumed)


def child_command(step: str) -> list[str]:
    """Return the command of a child process of a step; GPU_CHECK_CHILD names its part."""
    small = ["--small"] if SMALL else []
    return [sys.executable, str(HERE), "--step", step, "--work", str(WORK), *small]


def step_steps() -> None:
    """Measure steps per second of the product, and what a step launches and waits for."""
    train = sizes(3200, 256)  # the profiler takes a minute to summarize 12,800
    steps = -(-train // 128)
    for name, family, teachers in NETS[: sizes(len(NETS), 1)]:
        for outputs in ("labels", "stored", "online"):
            if outputs != "labels" and not teachers:
                continue
            trainer = make_trainer(
                name, family, teachers if outputs != "labels" else None, outputs, train, epochs=4
            )
            trainer.train_epoch()
            sync()
            rows = [trainer.train_epoch() for _ in range(1 if SMALL else 2)]
            speed = round(steps / min(r.seconds for r in rows), 1)
            row: dict[str, object] = {"steps_per_s": speed}
            if outputs != "online" or name == "resnet8":
                top = name == "resnet8" and outputs == "stored"
                row |= profiled_epoch(trainer, steps, speed, top)
            say(**{f"{name} {outputs}": row})


def profiled_epoch(trainer: Trainer, steps: int, speed: float, top: bool) -> dict[str, object]:
    """Profile an epoch; ``top``: also list the slowest kernels."""
    from torch.profiler import ProfilerActivity, profile

    activities = [
        ProfilerActivity.CPU,
        *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else []),
    ]
    with profile(activities=activities) as profiled:
        trainer.train_epoch()
        sync()
    events = profiled.key_averages()
    kernels = [e for e in events if str(e.device_type).endswith("CUDA")]
    launches = sum(e.count for e in events if "LaunchKernel" in e.key)
    busy = sum(getattr(e, "self_device_time_total", 0) for e in kernels) / 1e6
    row: dict[str, object] = {
        "launches_per_step": round(launches / steps, 1),
        "gpu_busy_ms_per_step": round(1000 * busy / steps, 3),
        "busy_share": round(busy * speed / steps, 2),
        "waits_per_epoch": {
            e.key: e.count
            for e in events
            if re.search("Synchronize|_local_scalar_dense|aten::item$", e.key)
        },
    }
    if top:
        longest = sorted(kernels, key=lambda e: -getattr(e, "self_device_time_total", 0))[:6]
        row["top"] = {e.key[:50]: round(e.self_device_time_total / steps, 1) for e in longest}
    return row


def device_data(trainer: Trainer) -> DeviceData:
    """Return the images of a trainer from ``make_trainer``, which are never streamed."""
    from dgkd_search.training.batches import DeviceData

    assert isinstance(trainer.data, DeviceData)
    return trainer.data


def one_step(trainer: Trainer, data: DeviceData, rows: Tensor, which: Sequence[int]) -> None:
    """Run a step of the trainer without its own graphs."""
    views = data.normalize(trainer._views.apply(data.images[rows], rows, 0))
    _, *gradients = trainer._gradients(*trainer._batch(rows, views, 0, which))
    trainer._optimizer.step(0.01, gradients)


class Replayable(Protocol):
    """A CUDA graph, or its replacement in a rehearsal."""

    def replay(self) -> None: ...


class Captured(NamedTuple):
    """A trainer's step as a graph; copy the rows of a batch, int64 [B], to ``rows``."""

    graph: Replayable
    rows: Tensor
    stream: torch.cuda.Stream | None


def captured(trainer: Trainer, size: int = 128) -> Captured:
    """Capture a trainer's step as a CUDA graph, with rows in a buffer and a constant rate."""
    import torch

    from dgkd_search.training.determinism import deterministic

    data = device_data(trainer)
    rows = torch.arange(size, device=DEVICE)
    which = list(range(len(trainer.spec.teachers)))
    trainer.model.train()

    def step() -> None:
        one_step(trainer, data, rows, which)

    if DEVICE.type != "cuda":  # a rehearsal: the same without graphs

        class StandIn:
            def replay(self) -> None:
                with deterministic(trainer.spec.numerics):
                    step()

        step()
        return Captured(StandIn(), rows, None)
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with deterministic(trainer.spec.numerics):
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            step()
    return Captured(graph, rows, stream)


def on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    import torch

    return torch.cuda.stream(stream) if stream is not None else contextlib.nullcontext()


def step_graphs() -> None:
    import torch

    train, count = sizes(12_800, 256), sizes(100, 2)
    orders = torch.stack([torch.randperm(train)[:128] for _ in range(count)]).to(DEVICE)
    for net in NETS:
        say(**{f"{net[0]} stored": graph_and_eager(net, train, orders)})
    # Several students in one process, each as a graph on its own stream.
    for name in ("resnet8", "resnet20", "plain2"):
        family = "plain" if name.startswith("plain") else "resnet"
        row: dict[int, float | str] = {}
        for students in (1, 2) if SMALL else (1, 4, 8):
            try:
                made = [
                    captured(make_trainer(name, family, None, train=train)) for _ in range(students)
                ]
                sync()
                began = time.perf_counter()
                for order in orders:
                    for graph, rows, stream in made:
                        with on(stream):
                            rows.copy_(order)
                            graph.replay()
                sync()
                row[students] = round(students * count / (time.perf_counter() - began), 1)
                del made
            except Exception as error:
                row[students] = short(error)
        say(**{f"{name} labels, students at once: steps/s of all": row})


def graph_and_eager(net: Net, train: int, orders: Tensor) -> dict[str, object]:
    """Measure steps per second with and without a graph, and compare the bits of both.

    Args:
        orders: int64 [steps, B], the rows of each step.
    """
    import torch

    from dgkd_search.training.determinism import deterministic

    row: dict[str, object] = {}
    try:
        trainer = make_trainer(*net, train=train)
        graph, rows, stream = captured(trainer)
        begin = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        momenta = {k: v.clone() for k, v in trainer._optimizer.state().items()}
        sync()
        began = time.perf_counter()
        with on(stream):
            for order in orders:
                rows.copy_(order)
                graph.replay()
        sync()
        row["graph_steps_per_s"] = round(len(orders) / (time.perf_counter() - began), 1)
        replayed = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        # the same steps without a graph, from the same weights
        with torch.no_grad():
            for k, v in trainer.model.state_dict().items():
                v.copy_(begin[k])
            for k, v in trainer._optimizer.state().items():
                v.copy_(momenta[k])
        data, which = device_data(trainer), list(range(len(trainer.spec.teachers)))
        sync()
        began = time.perf_counter()
        with deterministic(trainer.spec.numerics):
            for order in orders:
                one_step(trainer, data, order, which)
        sync()
        row["eager_steps_per_s"] = round(len(orders) / (time.perf_counter() - began), 1)
        row["same_bits"] = all(
            torch.equal(v, replayed[k]) for k, v in trainer.model.state_dict().items()
        )
    except Exception as error:
        row["error"] = short(error)
    return row


def step_replay() -> None:
    """Run the trainer with and without CUDA graphs, with dropped teachers and a short last batch."""
    from dgkd_search.training import cuda_graphs

    train, epochs = sizes(6400, 256) + 40, sizes(4, 2)
    bad = False
    for name, family, teachers in NETS[: sizes(len(NETS), 1)]:
        for outputs in ("labels", "stored", "online"):
            if outputs != "labels" and not teachers:
                continue
            row: dict[str, object] = {}
            weights = []
            speeds = {}
            for way, switch in (("plain", "0"), ("graphs", "1")):
                os.environ[cuda_graphs.SWITCH] = switch
                trainer = make_trainer(
                    name,
                    family,
                    teachers if outputs != "labels" else None,
                    outputs,
                    train,
                    epochs=epochs,
                    drop_prob=0.3,
                )
                rows = [trainer.train_epoch() for _ in range(epochs)]
                steps = -(-train // 128)
                speeds[way] = round(steps / min(r.seconds for r in rows), 1)
                row[f"{way}_steps_per_s"] = speeds[way]
                weights.append(checksum(trainer))
                if way == "graphs" and trainer._graphs is not None:
                    row["graphs"] = len(trainer._graphs._graphs)
                    row["seconds_of_first_epoch"] = round(rows[0].seconds, 2)
            row["same_bits"] = weights[0] == weights[1]
            bad |= not row["same_bits"]
            row["times"] = round(speeds["graphs"] / speeds["plain"], 2)
            say(**{f"{name} {outputs}": row})
    say(bad=bad)


def step_share() -> None:
    """Run processes that share the device, as with --gpus-per-trial."""
    seconds = 2 if SMALL else 6
    if os.environ.get("GPU_CHECK_CHILD"):
        trainer = make_trainer("resnet8", "resnet", None, train=sizes(12_800, 256), epochs=10_000)
        trainer.train_epoch()
        print("ready", flush=True)
        sys.stdin.readline()
        end, epochs = time.time() + seconds, 0
        while time.time() < end:
            trainer.train_epoch()
            epochs += 1
        import torch

        memory = torch.cuda.memory_reserved() if DEVICE.type == "cuda" else 0
        print(
            json.dumps({"epochs": epochs, "s": time.time() - end + seconds, "MB": memory // 2**20}),
            flush=True,
        )
        return
    arrays(sizes(12_800, 256), sizes(1000, 200))
    steps = -(-sizes(12_800, 256) // 128)
    mps = DEVICE.type == "cuda" and bool(shutil.which("nvidia-cuda-mps-control"))
    for processes in (1, 2) if SMALL else (1, 4, 8):
        share(processes, steps, {})
    if mps:
        # A separate MPS server, ended below; it changes no setting of the device.
        places = {
            f"CUDA_MPS_{name}_DIRECTORY": str(WORK / f"mps-{name}") for name in ("PIPE", "LOG")
        }
        for place in places.values():
            Path(place).mkdir()
        control = ["nvidia-cuda-mps-control"]
        subprocess.run([*control, "-d"], env={**os.environ, **places}, check=True, timeout=20)
        try:
            for processes in (4, 8):
                share(processes, steps, places)
        finally:
            quit = subprocess.run(
                control, input="quit\n", text=True, env={**os.environ, **places}, timeout=30
            )
            say(mps_ended=quit.returncode)


def share(processes: int, steps: int, places: Mapping[str, str]) -> None:
    """Report the total steps per second of several processes, under MPS if its folders are given."""
    environment = {**os.environ, "GPU_CHECK_CHILD": "1", "OMP_NUM_THREADS": "1", **places}
    children = [
        subprocess.Popen(
            child_command("share"),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            while (line := child.stdout.readline()) and "ready" not in line:
                pass
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        done = [json.loads(child.communicate()[0].strip().splitlines()[-1]) for child in children]
        say(
            **{
                f"processes {processes}{', MPS' * bool(places)}: steps/s of all": round(
                    sum(d["epochs"] * steps / d["s"] for d in done), 1
                )
            }
        )
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()


def step_agree() -> None:
    """Compare a student's accuracy on the device where it is trained and where users run it."""
    import torch

    import dgkd_search
    from dgkd_search.models.layers import Normalize
    from dgkd_search.training.batches import to_batches
    from dgkd_search.training.determinism import autocast
    from dgkd_search.training.evaluation import accuracy
    from dgkd_search.training.recipe import NUMERICS

    stages, data = planned(
        ["resnet8"], sizes(5000, 300), family="resnet", epochs=sizes(4, 1), lr=0.05
    )
    began = time.monotonic()
    trainer = dgkd_search.train_stage(stages[0], data)
    took = time.monotonic() - began
    part, info = data.validation(), data.info
    images, labels = torch.from_numpy(part.images.copy()), torch.from_numpy(part.labels.copy())

    def value(device: torch.device, numerics: Numerics, model: nn.Module) -> float:
        normalize = Normalize(info.mean, info.std).to(device)
        with autocast(numerics):
            return accuracy(
                model.to(device), to_batches(normalize, images.to(device), labels.to(device))
            )

    values: dict[str, object] = {
        "trained_here": round(trainer.rows[-1].val_accuracy, 2),
        "s": round(took, 1),
    }
    model = trainer.model
    values["same_device_fp32"] = round(value(DEVICE, NUMERICS["cpu"], model), 2)
    with torch.inference_mode():
        normalize = Normalize(info.mean, info.std).to(DEVICE)
        with autocast(replace(NUMERICS[DEVICE.type], precision="bf16")):
            here = model.eval()(normalize(images.to(DEVICE))).float().cpu()
    values["cpu_fp32"] = round(value(torch.device("cpu"), NUMERICS["cpu"], model.cpu()), 2)
    with torch.inference_mode():
        there = model.eval()(Normalize(info.mean, info.std)(images))
    values["other_predictions_percent"] = round(
        100 * float((here.argmax(1) != there.argmax(1)).float().mean()), 2
    )
    values["logits_differ_by"] = round(float((here - there).abs().max() / there.abs().max()), 4)
    if not SMALL and DEVICE.type == "cuda":
        seeds = [replace(stages[0], replicate=r) for r in (1, 2)]
        on_gpu = [dgkd_search.train_stage(s, data).rows[-1].val_accuracy for s in seeds]
        on_cpu = []
        for s in seeds[:1]:
            torch.set_num_threads(8)
            cpu = replace(s, numerics=replace(NUMERICS["cpu"], threads=8))
            on_cpu.append(dgkd_search.train_stage(cpu, data).rows[-1].val_accuracy)
        values |= {
            "gpu_seeds": [round(v, 2) for v in on_gpu],
            "cpu_seed": [round(v, 2) for v in on_cpu],
        }
    say(**values)


def step_memory() -> None:
    """Measure a process's device memory over several trials, as in a reused worker."""
    import torch

    from dgkd_search.distillation.trial import Trial
    from dgkd_search.store.store import Store

    on_gpu = DEVICE.type == "cuda"
    chains = [
        ["resnet20", "resnet8"],
        ["resnet20", "resnet14", "resnet8"],
        ["resnet26", "resnet8"],
        ["resnet20", "resnet8"],
    ]
    store = Store(WORK / "memory")
    rows: list[tuple[str, int, int] | tuple[str]] = []
    allocated: list[int] = []
    for i in range(sizes(10, 3)):
        stages, data = planned(
            chains[i % 4], sizes(3000, 200), family="resnet", epochs=2, replicate=i // 4
        )
        trial = Trial(stages, data, store)
        how = "run"
        if i % 3 == 1:  # pruned: closed after the student's first epoch
            how, rest = "pruned", iter(trial)
            for row in rest:
                if row.step == 1:
                    break
            rest.close()
        elif i == 5:
            how = "failed"
            bad = replace(stages[-1], recipe=replace(stages[-1].recipe, lr=1e6))
            try:
                Trial([*stages[:-1], bad], data, store).run()
                how = "did not fail"
            except Exception as error:
                how = short(error, 120)
        else:
            trial.run()
        if on_gpu:
            allocated.append(torch.cuda.memory_allocated() // 2**20)
            rows.append((how, allocated[-1], torch.cuda.memory_reserved() // 2**20))
        else:
            rows.append((how,))
    grown = on_gpu and allocated[-1] > allocated[0] + 32
    say(MiB_allocated_reserved=rows, bad=grown)


def step_oom() -> None:
    """Run out of memory within the process, and because of another process."""
    import torch

    import dgkd_search

    if DEVICE.type != "cuda":
        say(skipped="no GPU")
        return
    total = torch.cuda.get_device_properties(0).total_memory
    stages, data = planned(["wrn_16_4"], 3000, family="wrn", epochs=1, batch_size=2048)
    torch.cuda.set_per_process_memory_fraction(1.5e9 / total)
    try:
        dgkd_search.train_stage(stages[0], data)
        inside = "it fitted"
    except Exception as error:
        inside = short(error, 400)
    say(own_limit=inside, advises="fits" in inside)
    torch.cuda.set_per_process_memory_fraction(1.0)
    # After an error the process must keep working, as a reused worker does.
    stages, data = planned(["resnet8"], 3000, family="resnet", epochs=1)
    after = round(dgkd_search.train_stage(stages[0], data).rows[-1].val_accuracy, 1)
    say(after_it=after)
    # Another process holds nearly all memory; a new process starts a trial.
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    for left in (300 * 2**20, 900 * 2**20):
        block = torch.empty(max(0, free - left), dtype=torch.uint8, device=DEVICE)
        code = (
            "import sys, dgkd_search\n"
            "stages, data = dgkd_search.plan(['resnet20'], dataset='arrays', data_dir=sys.argv[1], family='resnet',"
            " epochs=1, store=sys.argv[2], batch_size=128)\n"
            "try: dgkd_search.train_stage(stages[0], data); print('it fitted')\n"
            "except Exception as e: print(type(e).__name__ + ': ' + ' '.join(str(e).split())[:300])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(arrays(3000)), str(WORK / "plans")],
            capture_output=True, text=True,
        )  # fmt: skip
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        say(**{f"neighbor leaves {left // 2**20} MiB": " ".join(said)})
        del block
        torch.cuda.empty_cache()


def step_own() -> None:
    """Train custom networks."""
    folder = WORK / "own"
    folder.mkdir(exist_ok=True)
    (folder / "checknets.py").write_text(
        "import torch\nfrom torch import nn\nfrom functools import partial\nimport dgkd_search\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width, kind, *, classes, channels, image_size):\n"
        "        super().__init__()\n"
        "        self.kind = kind\n"
        "        self.conv = nn.Conv2d(channels, width, 3, padding=1)\n"
        "        self.pool = nn.MaxPool2d(4)\n"
        "        self.drop = nn.Dropout(0.3)\n"
        "        self.fc = nn.Linear(width * (image_size // 4) ** 2, classes)\n"
        "    def forward(self, x):\n"
        "        x = self.pool(torch.relu(self.conv(x)))\n"
        "        x = x.view(x.size(0), -1) if self.kind == 'view' else x.flatten(1)\n"
        "        return self.fc(self.drop(x))\n"
        "for kind in ('view', 'flat'):\n"
        "    dgkd_search.family('own' + kind, **{kind + str(w): partial(Net, w, kind) for w in (8, 16)})\n"
    )
    sys.path.insert(0, str(folder))
    importlib.import_module("checknets")

    import dgkd_search

    values: dict[str, str] = {}
    for kind in ("view", "flat"):
        stages, data = planned(
            [f"{kind}16"], sizes(2000, 200), family=f"own{kind}", epochs=1, lr=0.01
        )
        try:
            sums = [checksum(dgkd_search.train_stage(stages[0], data)) for _ in range(2)]
            values[kind] = "same bits twice" if sums[0] == sums[1] else "OTHER BITS the second time"
        except Exception as error:
            values[kind] = short(error, 200)
    stages, data = planned(["flat16"], sizes(2000, 200), family="ownflat", epochs=1, lr=0.01)
    import torch

    from dgkd_search.models import build
    from dgkd_search.training.determinism import autocast

    model = build(stages[0].architecture, torch.Generator()).to(DEVICE)
    with autocast(stages[0].numerics):
        values["logits"] = str(model(torch.zeros(2, 3, *[sizes(32, 16)] * 2, device=DEVICE)).dtype)
    say(**values, bad="Error" in values["view"] or "OTHER" in str(values))


def step_stream() -> None:
    import numpy as np
    from PIL import Image

    import dgkd_search

    root = WORK / "photos"
    rng = np.random.default_rng(0)
    for part, count in (("train", sizes(2000, 40)), ("val", sizes(200, 20))):
        for label in range(4):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count // 4):
                noise = rng.integers(0, 80, (20, 20, 3), np.uint8)
                noise[..., label % 3] += np.uint8(40 * label)
                Image.fromarray(noise).resize((256, 256)).save(folder / f"{i}.jpg", quality=85)
    stages, data = dgkd_search.plan(
        ["resnet8"], dataset="imagefolder", data_dir=str(root), image_size=sizes(128, 32), images="stream", family="resnet",
        epochs=2, batch_size=sizes(128, 8), store=str(WORK / "plans"), augment="resized-crop+flip",
    )  # fmt: skip
    sums, rows = [], []
    for _ in range(2):
        trainer = dgkd_search.train_stage(stages[0], data)
        sums.append(checksum(trainer))
        rows = trainer.rows
    count = data.info.train_count
    say(
        pictures_per_s=[round(count / row.seconds) for row in rows],
        cores=len(os.sched_getaffinity(0)),
        same_bits=sums[0] == sums[1],
        bad=sums[0] != sums[1],
    )


def step_fused() -> None:
    """Compare a convolution of 8 students as 8 kernels with one grouped kernel."""
    import torch
    from torch.nn import functional as F

    from dgkd_search.training.determinism import deterministic
    from dgkd_search.training.recipe import NUMERICS

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=torch.channels_last).requires_grad_()

    def random(*shape: int) -> Tensor:
        return leaf(torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16))

    students = 8
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        x = [random(sizes(128, 8), channels, size, size) for _ in range(students)]
        w = [random(channels, channels, 3, 3) for _ in range(students)]
        joined = leaf(torch.cat([t.detach() for t in x], 1))
        weights = leaf(torch.cat([t.detach() for t in w]))

        def apart() -> None:
            for a, b in zip(x, w, strict=True):
                torch.autograd.backward(F.conv2d(a, b, padding=1).sum())

        def together() -> None:
            torch.autograd.backward(F.conv2d(joined, weights, padding=1, groups=students).sum())

        with deterministic(NUMERICS[DEVICE.type]):
            row = {"apart": device_ms(apart), "grouped": device_ms(together)}
        say(**{f"{channels}x{size}x{size}, device ms of {students}": row})


def device_ms(function: Callable[[], None]) -> float:
    """Return the GPU milliseconds of a call, without launches, which graphs can hide."""
    for _ in range(3):
        function()
    sync()
    if DEVICE.type != "cuda":
        began = time.perf_counter()
        function()
        return round(1000 * (time.perf_counter() - began), 3)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(10):
            function()
        sync()
    busy = sum(
        getattr(e, "self_device_time_total", 0)
        for e in profiled.key_averages()
        if str(e.device_type).endswith("CUDA")
    )
    return round(busy / 1e4, 3)


def step_compile() -> None:
    """Measure --compile as in the product, and with torch's own graphs."""
    import torch

    train = sizes(12_800, 256)
    in_mode = functools.partial(torch.compile, mode="reduce-overhead")
    for label, compiler, times in (("default", torch.compile, 2), ("reduce-overhead", in_mode, 1)):
        for name in ("resnet8",) if SMALL else ("resnet8", "resnet20"):
            row: dict[str, object] = {}
            try:
                sums = []
                for _ in range(times):
                    began = time.monotonic()
                    with mock.patch.object(torch, "compile", compiler):
                        trainer = make_trainer(
                            name,
                            "resnet",
                            None,
                            train=train,
                            epochs=3,
                            numerics=lambda n: replace(n, compiled=True),
                        )
                        trainer.train_epoch()
                        row.setdefault("first_epoch_s", round(time.monotonic() - began, 1))
                        last = trainer.train_epoch()
                    sums.append(checksum(trainer))
                    row["steps_per_s"] = round(-(-train // 128) / last.seconds, 1)
                row["same_bits"] = len(set(sums)) == 1 if len(sums) > 1 else None
            except Exception as error:
                row["error"] = short(error)
            say(**{f"{name} {label}": row})


def step_speed() -> None:
    """Measure what single changes would save in a step of resnet8 (host time, labels alone)."""
    import torch

    from dgkd_search.training.determinism import deterministic

    trainer = make_trainer("resnet8", "resnet", None, train=sizes(12_800, 256))
    data = device_data(trainer)
    rows = torch.arange(128 if not SMALL else 16, device=DEVICE)
    every = torch.arange(data.count, device=DEVICE)
    trainer.model.train()
    parts: dict[str, object] = {}

    def views() -> Tensor:
        shown: Tensor = data.normalize(trainer._views.apply(data.images[rows], rows, 0))
        return shown

    def epoch_views() -> Tensor:
        """Compute all views of an epoch in chunks of 4096, so that a step is one gather."""
        return torch.cat(
            [trainer._views.apply(data.images[part], part, 0) for part in torch.split(every, 4096)]
        )

    with deterministic(trainer.spec.numerics):
        shown = views()
        parts["views_us"] = microseconds(views)
        batch = trainer._batch(rows, shown, 0, [])
        parts["forward_and_backward_us"] = microseconds(lambda: trainer._gradients(*batch))
        _, *gradients = trainer._gradients(*batch)
        parts["optimizer_us"] = microseconds(lambda: trainer._optimizer.step(1e-6, gradients))
        parameters = list(trainer.model.parameters())
        for fused in (False, True):
            try:
                optimizer = torch.optim.SGD(
                    parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4, fused=fused
                )
                parts["sgd_fused_us" if fused else "sgd_foreach_us"] = microseconds(optimizer.step)
            except Exception as error:
                parts["sgd_fused_us"] = short(error, 80)
        parts["views_of_an_epoch_us"] = microseconds(epoch_views, sizes(10, 1))
        made = epoch_views()
        parts["row_gather_us"] = microseconds(lambda: data.normalize(made[rows]))
        parts["bf16_weights_forward_backward_us"] = bf16_microseconds(trainer.model, shown)
    checkpoint = make_trainer("resnet8", "resnet", None, train=sizes(12_800, 256))
    checkpoint.train_epoch()
    parts["checkpoint_ms"] = round(microseconds(checkpoint.checkpoint, 5) / 1000, 2)
    say(images=data.count, **parts)


def microseconds(function: Callable[[], object], times: int | None = None) -> float:
    """Return the mean host time of ``times`` calls (200, or 2 in a rehearsal)."""
    times = times or sizes(200, 2)
    for _ in range(sizes(20, 1)):
        function()
    sync()
    began = time.perf_counter()
    for _ in range(times):
        function()
    sync()
    return round(1e6 * (time.perf_counter() - began) / times, 1)


def bf16_microseconds(model: nn.Module, images: Tensor) -> float | str:
    """Return the time of forward and backward with bf16 weights and float32 batch normalization."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):  # the classifier is float32 by design
            module.bfloat16()
    low = images.bfloat16().contiguous(memory_format=torch.channels_last)

    def uncast() -> None:
        logits = model(low)
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(logits.float().sum())

    try:
        return microseconds(uncast)
    except Exception as error:
        return short(error, 120)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(1)
