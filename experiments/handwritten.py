"""A search written by hand with Ray Tune, which bench_study.py compares with dgkd-search.

The teacher is trained once, to a file. A trial trains every assistant of its chain, then the
student. Every teacher that is not dropped is run on every batch, without gradients. Tune takes the
configurations from a list, two at a time, in reused actors. Training steps, data and evaluation are
the library's own, so that the comparison measures what the library adds to them.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import PreparedData, load_test, open_prepared, prepare
from dgkd_search.models.layers import Normalize
from dgkd_search.study.config import Resources
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import SearchSpace
from dgkd_search.training.batches import DeviceData, to_batches
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model


@dataclass(frozen=True)
class Task:
    """Configurations to train.

    Attributes:
        options: command-line options by name.
        configurations: parameters of each configuration, named as in study.db.
        folder: output folder, created if missing.
    """

    options: dict[str, Any]
    configurations: tuple[dict[str, Any], ...]
    folder: Path


class EvaluatedOnce(Trainer):
    """A trainer that evaluates only after the last epoch, for teachers and assistants."""

    def _accuracy(self) -> float:
        last = self.epoch + 1 == self.spec.recipe.epochs
        return super()._accuracy() if last else float("nan")


def train_chain(config: dict[str, Any]) -> None:
    """Run one trial for Tune: train the assistants in order, then the student."""
    from ray import tune

    began = time.time()
    stages, data, teacher = opened(config["folder"])
    chain = stages[config["number"]]
    specs = [StageSpec.from_dict(spec) for spec in chain]
    numerics, device = specs[0].numerics, data.device
    sources: list[nn.Module] = [teacher]
    computing, forwards = 0.0, 0
    for spec in specs[1:]:
        final = spec is specs[-1]
        kind = Trainer if final else EvaluatedOnce
        learner = kind(spec, data, OnlineTeachers(sources, device, numerics))
        while not learner.finished:
            row = learner.train_epoch()
            computing += row.seconds
            forwards += row.taught
            if final:
                tune.report(
                    {
                        "val_accuracy": row.val_accuracy,
                        "computing": computing,
                        "forwards": forwards,
                        "began": began,
                        "ended": time.time(),
                    }
                )
        sources.append(learner.model)
    student = Path(config["folder"], f"student{config['number']}.safetensors")
    student.write_bytes(learner.weights())


@functools.lru_cache(maxsize=1)
def opened(folder: str) -> tuple[list[list[dict[str, Any]]], DeviceData, nn.Module]:
    """Open what every trial of an actor needs, once per actor."""
    task = json.loads(Path(folder, "task.json").read_text())
    spec = StageSpec.from_dict(task["stages"][0][0])
    device = torch.device(spec.numerics.device_type)
    data = DeviceData(open_prepared(task["data"]), device)
    teacher = load_model(spec, Path(folder, "teacher.safetensors").read_bytes())
    return task["stages"], data, teacher.to(device)


def _run_trials(
    folder: Path, chains: Sequence[Sequence[StageSpec]], data: PreparedData, resources: Resources
) -> dict[int, dict[str, Any]]:
    """Run all trials; return the last report of each, by index in the list."""
    # Ray reads its settings when it is imported; use those of a search, so that it is as quiet.
    from dgkd_search.study.ray_tune.ray_session import ray_session

    stages = [[spec.to_dict() for spec in chain] for chain in chains]
    (folder / "task.json").write_text(json.dumps({"stages": stages, "data": str(data.path)}))
    share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    with ray_session(resources) as scratch:
        from ray import tune

        tuner = tune.Tuner(
            tune.with_resources(train_chain, {k: v for k, v in share.items() if v}),
            param_space={
                "number": tune.grid_search(list(range(len(chains)))),
                "folder": str(folder),
            },
            tune_config=tune.TuneConfig(
                max_concurrent_trials=resources.concurrency, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="handwritten", storage_path=str(scratch / "tune"), verbose=0
            ),
        )
        results = list(tuner.fit())
    if failed := [str(result.error) for result in results if result.error]:
        raise RuntimeError(failed[0])
    return {result.config["number"]: result.metrics for result in results}


def search(task: Task) -> dict[str, Any]:
    """Train every configuration of the list, and test the best student."""
    wall = time.perf_counter()
    resolved = resolve(parse_options(task.options, "{}"))
    config, resources = resolved.config, resolved.resources
    task.folder.mkdir(parents=True, exist_ok=True)
    data = prepare(config.data, task.folder / "data")
    planner = Planner(config, data.info)
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    chains = [planner.stages(space.configuration(params)) for params in task.configurations]

    first = chains[0][0]
    device = torch.device(first.numerics.device_type)
    teacher = EvaluatedOnce(first, DeviceData(data, device))
    while not teacher.finished:
        teacher.train_epoch()
    (task.folder / "teacher.safetensors").write_bytes(teacher.weights())
    teacher_seconds = sum(row.seconds for row in teacher.rows)

    rows = _run_trials(task.folder, chains, data, resources)
    trials_ended = time.perf_counter()

    def rank(number: int) -> tuple[float, int, int]:
        return -rows[number]["val_accuracy"], len(chains[number]), number

    best = min(rows, key=rank)
    weights = (task.folder / f"student{best}.safetensors").read_bytes()
    model, test = load_model(chains[best][-1], weights), load_test(config.data)
    images, labels = torch.from_numpy(test.images), torch.from_numpy(test.labels)
    normalize = Normalize(data.info.mean, data.info.std)
    tested = accuracy(model, to_batches(normalize, images, labels))
    ended = time.perf_counter()
    trials_seconds = max(r["ended"] for r in rows.values()) - min(r["began"] for r in rows.values())
    return {
        "wall": ended - wall,
        "starting": trials_ended - wall - teacher_seconds - trials_seconds,
        "teacher_seconds": teacher_seconds,
        "teacher_phase": teacher_seconds,
        "trials_seconds": trials_seconds,
        "inside_trials": sum(r["ended"] - r["began"] for r in rows.values()),
        "closing": ended - trials_ended,
        "computing": teacher_seconds + sum(r["computing"] for r in rows.values()),
        "waiting": 0.0,
        "stages": 1 + sum(len(chain) - 1 for chain in chains),
        "forwards": sum(r["forwards"] for r in rows.values()),
        "accuracies": [rows[i]["val_accuracy"] for i in range(len(chains))],
        "best": best,
        "validation": rows[best]["val_accuracy"],
        "test": tested,
    }
