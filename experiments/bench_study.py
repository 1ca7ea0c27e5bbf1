"""Compare the cost of a complete search with a handwritten Ray Tune script.

    python experiments/bench_study.py [--preset 32|64] [--sample K] [--data-dir DIR] --json FILE

The same list of configurations is trained four times, each time in a new process, with two
concurrent trials and one thread per trial:

by hand    handwritten.py: the teacher is trained once; every trial trains its assistants and its
           student, and runs the surviving teachers on every batch
shared     dgkd-search with an empty store, without a pruner
pruned     dgkd-search with another empty store, with Optuna's median pruner
again      dgkd-search with the store of `shared`: it must train nothing and run no teacher

Presets: 32 is plain10 > plain2 with subsets of {plain8, plain6, plain4} (8 chains) and drop 0, .25,
.5, .75 for chains with assistants (29 different students), plus drop .125 for the three chains with
two assistants. 64 draws 64 different configurations from plain9 ... plain3 and the four drop
values. Both lists are shuffled by --seed. Networks are those for 100 classes, with as many outputs
as the data have classes; all models train 16 epochs. There is no augmentation, so outputs are
computed for one bank; with --augment crop+flip there are --views (16) banks.

`ideal` is the ratio of operations (operations.py): `wall` would have this ratio if only
convolutions and linear layers took time, all at the same rate. In fact, small students take more
time per operation than large teachers. Therefore, the training step and the forward pass of every
network are timed before the runs, in as many processes as concurrent trials. `attainable` is the
ratio of wall times if only these took time: the teacher first, while the other workers are idle,
then everything else without gaps.

`busy` is the share of the workers' time spent on training and running teachers, from the end of the
teacher's training to the end of the last trial. `stages` counts the started ones; pruned students
have trained only some epochs. `wall` is the time from the call to its return: decoding images,
starting Ray, the teacher (with the start of a worker if a worker trains it), the trials, and at the
end the test of the best student and the result files.

Both sides train a student from the same seed and with the same order of images. Accuracies differ
only by rounding (outputs are stored in float16), which training amplifies. The students of both
sides are compared on held-out images after all runs.

With --sample, the handwritten script trains a seeded sample of the list, and the time after the
teacher's training is scaled by operations, as if no worker were ever idle; the table says so. For
64 this is the default.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bench
import operations
import torch
from handwritten import Task
from handwritten import search as search_by_hand

from dgkd_search.callbacks.base import Observer
from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import load_test, open_prepared, prepare
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.layers import Normalize
from dgkd_search.store.store import Store
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import SearchSpace
from dgkd_search.training.batches import DeviceData, to_batches
from dgkd_search.training.determinism import deterministic
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.recipe import Distillation
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import CachedTeachers
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model

POOLS = {
    "32": ("plain8", "plain6", "plain4"),
    "64": ("plain9", "plain8", "plain7", "plain6", "plain5", "plain4", "plain3"),
}
DROPS = (0.0, 0.25, 0.5, 0.75)
EXTRA_DROP = 0.125  # extends the 29 students of the smaller preset to 32
IMAGES = 256  # either preset then takes about half an hour on two slow cores
SAMPLE = {"32": None, "64": 6}
RUNS = ("by hand", "shared", "pruned", "again")


def configurations(preset: str, seed: int) -> list[dict[str, Any]]:
    """Return the configurations of a preset as parameters of a study."""
    pool = POOLS[preset]
    chosen: list[dict[str, Any]] = []
    for count in range(len(pool) + 1):
        for assistants in itertools.combinations(pool, count):
            drops: tuple[float, ...] = DROPS if count else (0.0,)
            if preset == "32" and count == 2:
                drops = (*DROPS, EXTRA_DROP)
            uses = {f"use_{name}": int(name in assistants) for name in pool}
            chosen += [{**uses, "drop_prob": drop} for drop in drops]
    generator = random.Random(seed)
    generator.shuffle(chosen)
    return chosen[: int(preset)]


def options(args: Any, folder: Path) -> dict[str, Any]:
    """Return the command-line options for both sides."""
    return {
        "dataset": "imagefolder",
        "data_dir": str(folder),
        "image_size": bench.SIZE,
        "family": "plain",
        "teacher": "plain10",
        "student": "plain2",
        "assistants": list(POOLS[args.preset]),
        "drop_prob": [*DROPS, EXTRA_DROP] if args.preset == "32" else list(DROPS),
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "lr": args.lr,
        "schedule": "onecycle",
        "weight_decay": 5e-4,
        "augment": args.augment,
        "views": args.views,
        "budget": len(args.list),
        "concurrency": args.concurrency,
        "gpus_per_trial": args.gpus_per_trial,
        "cpus_per_trial": 1,
        "no_reference": True,
        "confirm": "off",
    }


class Times(Observer):
    """Records the times of a search's events, in seconds of ``time.perf_counter``."""

    def __init__(self) -> None:
        self.first_job: float | None = None
        self.teacher: float | None = None  # end of its training
        self.last_end = 0.0

    def job_started(self, job: TrialInfo) -> None:
        self.first_job = self.first_job or time.perf_counter()

    def row(self, job: TrialInfo, row: TrialProgress) -> None:
        if self.teacher is None and row.position == 0 and row.epoch == row.epochs:
            self.teacher = time.perf_counter()

    def job_ended(
        self, job: TrialInfo, state: str, value: float | None, reason: str | None
    ) -> None:
        self.last_end = time.perf_counter()


def search_shared(task: Task, store: Path, pruner: str) -> dict[str, Any]:
    """Run the list with dgkd-search in this process."""
    import optuna

    from dgkd_search.workflows.search import run_search

    run = task.folder / "run"
    times, began = Times(), time.perf_counter()
    chosen = parse_options({**task.options, "out": run, "store": store, "pruner": pruner}, "{}")
    summary = run_search(chosen, times, initial_params=task.configurations)
    ended = time.perf_counter()
    storage = f"sqlite:///{run / 'study.db'}"
    study = optuna.load_study(study_name="dgkd-search", storage=storage)
    trials = [_trial_of(study.trials, params) for params in task.configurations]
    facts = [trial.user_attrs["facts"] for trial in trials]
    teachers = [s for fact in facts for s in fact["stages"] if s["name"] == "plain10"]
    teacher_seconds = sum(stage["seconds"] for stage in teachers if stage["trained"])
    first_job = times.first_job or began
    teacher = times.teacher or first_job
    return {
        "wall": ended - began,
        "starting": first_job - began,
        "teacher_seconds": teacher_seconds,
        "teacher_phase": teacher - first_job,
        "trials_seconds": times.last_end - teacher,
        "closing": ended - times.last_end,
        "computing": sum(fact["computing"] for fact in facts),
        "waiting": sum(fact["waiting"] for fact in facts),
        "stages": sum(stage["trained"] > 0 for fact in facts for stage in fact["stages"]),
        "forwards": sum(fact["forwards"] for fact in facts),
        "taught": sum(fact["taught"] for fact in facts),
        "pruned": sum(trial.state.name == "PRUNED" for trial in trials),
        "epochs": [len(trial.intermediate_values) for trial in trials],
        "accuracies": [
            trial.intermediate_values[max(trial.intermediate_values)] for trial in trials
        ],
        "best": trials.index(next(t for t in trials if t.number == summary.trial)),
        "validation": summary.accuracies.validation,
        "test": summary.accuracies.test,
    }


def _trial_of(trials: Sequence[Any], params: dict[str, Any]) -> Any:
    found = next((trial for trial in trials if trial.params == params), None)
    if found is None or found.state.name not in ("COMPLETE", "PRUNED"):
        state, reason = (
            ("missing", "") if found is None else (found.state.name, found.user_attrs.get("reason"))
        )
        raise RuntimeError(f"{params}: {state} {reason}")
    return found


@dataclass(frozen=True)
class Scale:
    """Factors that scale a sample's seconds to the complete list."""

    sampled: list[int]
    factor: float


def scaled(figures: dict[str, Any], scale: Scale, concurrency: int) -> dict[str, Any]:
    """Return the estimated seconds of the complete list; start and teacher are not scaled.

    The estimate assumes that no worker is ever idle. In a short sample, the last trial runs alone,
    which hardly matters in a long list, and our side must not benefit from it.
    """
    trials = scale.factor * figures["inside_trials"] / concurrency
    added = trials - figures["trials_seconds"]
    computing = figures["teacher_seconds"] + scale.factor * (
        figures["computing"] - figures["teacher_seconds"]
    )
    return {
        **figures,
        "measured_wall": figures["wall"],
        "wall": figures["wall"] + added,
        "trials_seconds": trials,
        "computing": computing,
        "scaled_by": scale.factor,
        "sampled": scale.sampled,
    }


def seconds_an_image(
    chain: Sequence[StageSpec], data: Path, repeats: int
) -> dict[str, list[float]]:
    """Return the seconds to train and to run an image, for each network (medians of epochs).

    Call it in several concurrent processes, which share caches and memory bandwidth as trials do.
    """
    prepared = open_prepared(data)
    device = torch.device(chain[0].numerics.device_type)
    at_hand, found = DeviceData(prepared, device), {}
    count, validation = prepared.info.train_count, prepared.info.validation_count
    for place, spec in enumerate(chain):
        sources = CachedTeachers(place) if place else None
        if sources is not None:
            classes = len(prepared.info.classes)
            sources.use(0, [torch.randn(count, classes, device=device).half()] * place)
        learner = Trainer(spec, at_hand, sources)
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(-1, repeats):
            with deterministic(spec.numerics):
                began = time.perf_counter()
                learner._train()
                between = time.perf_counter()
                learner._accuracy()
                ended = time.perf_counter()
            if turn >= 0:
                times[0].append((between - began) / count)
                times[1].append((ended - between) / validation)
        found[spec.architecture.name] = [bench.Spread.of(t).median for t in times]
    return found


def attainable(
    chains: Sequence[Sequence[StageSpec]],
    sizes: operations.Sizes,
    seconds: dict[str, list[float]],
    concurrency: int,
) -> dict[str, float]:
    """Return the wall seconds of both sides if only training steps and forward passes took time."""

    def training(architecture: Architecture) -> float:
        return seconds[architecture.name][0]

    def forward(architecture: Architecture) -> float:
        return seconds[architecture.name][1]

    teacher = [chains[0][:1]]
    walls = {}
    for name, count in (("by hand", operations.by_hand), ("shared", operations.shared)):
        first = count(teacher, sizes, forward, training).total
        everything = count(chains, sizes, forward, training).total
        walls[name] = first + (everything - first) / concurrency
    return walls


def busy(figures: dict[str, Any], concurrency: int) -> float:
    """Return the share of the workers' time after the teacher's training that was used."""
    working: float = figures["computing"] - figures["teacher_seconds"]
    return working / float(figures["trials_seconds"] * concurrency)


def plan_list(args: Any, folder: Path, store: Path) -> list[tuple[StageSpec, ...]]:
    """Return the stages of every configuration; their data are prepared separately from runs."""
    config = resolve(parse_options(options(args, folder), "{}")).config
    planner = Planner(config, prepare(config.data, store).info)
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    chains = [planner.stages(space.configuration(params)) for params in args.list]
    if len({chain[-1].key for chain in chains}) < len(chains):
        raise RuntimeError("two configurations of the list mean one student")
    return chains


def tested(
    args: Any, folder: Path, place: Path, chains: Sequence[Sequence[StageSpec]], sampled: list[int]
) -> dict[str, list[float]]:
    """Return held-out accuracies of all students that both sides trained, after all runs."""
    config = resolve(parse_options(options(args, folder), "{}")).config
    info, part = prepare(config.data, place / "planned").info, load_test(config.data)
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    normalize, store = Normalize(info.mean, info.std), Store(place / "store")
    values: dict[str, list[float]] = {"by hand": [], "shared": []}
    for position, number in enumerate(sampled):
        student = chains[number][-1]
        entry = store.get(student.key)
        assert entry is not None
        written = place / "by-hand" / f"student{position}.safetensors"
        for name, weights in (("by hand", written.read_bytes()), ("shared", entry.tensors)):
            model = load_model(student, weights)
            values[name].append(accuracy(model, to_batches(normalize, images, labels)))
    return values


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--preset", choices=tuple(POOLS), default="32")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"for training ({IMAGES})")
    parser.add_argument("--validation", type=int, help="images (a quarter of --images)")
    parser.add_argument("--held-out", type=int, default=5000, help="images to test on (5000)")
    parser.add_argument("--epochs", type=int, default=16, help="of every model (16)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--augment", default="none", help="none, crop, flip, crop+flip (none)")
    parser.add_argument("--views", type=int, help="of each image, if augmented (one an epoch)")
    parser.add_argument("--first", type=int, help="take the first N of the list alone")
    parser.add_argument("--sample", type=int, help="by hand, train N of the list and scale")
    parser.add_argument("--runs", type=bench.comma(str), default=list(RUNS), help=", ".join(RUNS))
    parser.add_argument("--concurrency", type=int, default=2, help="trials at once (2)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs that time a network (5)")
    parser.add_argument("--gpus-per-trial", type=float, default=0.0)
    args = parser.parse_args(arguments)
    if unknown := set(args.runs) - set(RUNS):
        parser.error(f"--runs {', '.join(unknown)}: choose from {', '.join(RUNS)}")
    if "again" in args.runs and "shared" not in args.runs:
        parser.error("--runs again: needs shared, which fills its store")
    args.validation = args.validation or max(bench.CLASSES, args.images // 4)
    args.list = configurations(args.preset, args.seed)[: args.first]
    sample = SAMPLE[args.preset] if args.sample is None else args.sample
    sampled = sorted(_sample(len(args.list), sample, args.seed))
    began = time.perf_counter()
    with bench.workplace() as place:
        folder = bench.image_folder(
            place / "images",
            args.data_dir,
            train=args.images,
            validation=args.validation,
            test=args.held_out,
            seed=args.seed,
        )
        chains = plan_list(args, folder, place / "planned")
        results = _run_all(args, folder, place, chains, sampled)
        if {"by hand", "shared"} <= set(results):
            results["agreement"] = agreement(tested(args, folder, place, chains, sampled))
    report(args, chains, results)
    sizes = {
        "preset": args.preset,
        "configurations": len(args.list),
        "images": args.images,
        "validation": args.validation,
        "held_out": args.held_out,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "augment": args.augment,
        "views": chains[0][-1].recipe.views,
        "concurrency": args.concurrency,
    }
    figures = {"list": args.list, **results}
    bench.save(args, began, sizes, figures)
    _check(results)


def _sample(count: int, wanted: int | None, seed: int) -> list[int]:
    if wanted is None or wanted >= count:
        return list(range(count))
    return random.Random(seed).sample(range(count), wanted)


def _run_all(
    args: Any,
    folder: Path,
    place: Path,
    chains: Sequence[Sequence[StageSpec]],
    sampled: list[int],
) -> dict[str, Any]:
    task = Task(options(args, folder), tuple(args.list), place)
    sizes = operations.Sizes(args.images, args.validation)
    hand = operations.by_hand(chains, sizes)
    everything = operations.shared(chains, sizes)
    results: dict[str, Any] = {}
    print("timing each network ...", file=sys.stderr, flush=True)
    seconds = _seconds(args, chains, place)
    walls = attainable(chains, sizes, seconds, args.concurrency)
    for name in args.runs:
        print(f"{name} ...", file=sys.stderr, flush=True)
        own = replace(task, folder=place / name.replace(" ", "-"))
        own.folder.mkdir(parents=True)
        if name == "by hand":
            part = replace(own, configurations=tuple(args.list[i] for i in sampled))
            figures = bench.alone(search_by_hand, part)
            if len(sampled) < len(chains):
                trials = operations.by_hand(chains, sizes, teacher=False).total
                some = operations.by_hand([chains[i] for i in sampled], sizes, teacher=False)
                figures = scaled(figures, Scale(sampled, trials / some.total), args.concurrency)
            figures["best"] = sampled[figures["best"]]
            figures |= {"operations": hand.total, "counted_forwards": hand.forwards}
        else:
            store = place / ("pruned-store" if name == "pruned" else "store")
            pruner = "median" if name == "pruned" else "none"
            figures = bench.alone(search_shared, own, store, pruner)
            counted = everything
            if name == "pruned":
                pairs = zip(chains, figures["epochs"], strict=True)
                counted = operations.shared(
                    chains, sizes, epochs={chain[-1].key: epochs for chain, epochs in pairs}
                )
            elif name == "again":
                counted = operations.Operations()
            figures |= {"operations": counted.total, "counted_forwards": counted.forwards}
        figures["busy"] = busy(figures, args.concurrency)
        results[name] = figures
    for figures in results.values():
        if "by hand" in results:
            figures["ratio"] = results["by hand"]["wall"] / figures["wall"]
        if figures["operations"]:
            figures["ideal"] = hand.total / figures["operations"]
    for name in {"by hand", "shared"} & set(results):
        results[name]["attainable"] = walls["by hand"] / walls[name]
        results[name]["attainable_wall"] = walls[name]
    results["seconds_an_image"] = seconds
    return results


def _seconds(
    args: Any, chains: Sequence[Sequence[StageSpec]], place: Path
) -> dict[str, list[float]]:
    """Return ``seconds_an_image`` of all networks, from ``--concurrency`` concurrent processes."""
    networks = {stage.architecture.name: stage for chain in chains for stage in chain}
    longest = sorted(
        networks.values(), key=lambda stage: -operations.forward_operations(stage.architecture)
    )
    chain = [
        replace(
            stage,
            teachers=tuple(map(str, range(place))),
            distillation=stage.distillation or (Distillation() if place else None),
        )
        for place, stage in enumerate(longest)
    ]
    (folder,) = (path for path in (place / "planned").iterdir() if (path / "info.json").is_file())
    with bench.processes(args.concurrency) as pool:
        jobs = [
            pool.submit(seconds_an_image, chain, folder, args.repeats)
            for _ in range(args.concurrency)
        ]
        found = [job.result() for job in jobs]
    return {
        name: [bench.Spread.of([f[name][i] for f in found]).mean for i in (0, 1)]
        for name in networks
    }


def agreement(values: dict[str, list[float]]) -> dict[str, Any]:
    """Return how much the students of both sides differ, in percentage points of accuracy."""
    differences = [a - b for a, b in zip(values["by hand"], values["shared"], strict=True)]
    found = bench.Spread.of(differences)
    return {
        **values,
        "mean_absolute_difference": bench.Spread.of([abs(d) for d in differences]).mean,
        "mean_difference": found.mean,
        "mean_difference_error": found.error,
        "largest": max(map(abs, differences)),
        "spread_of_list": max(values["shared"]) - min(values["shared"]),
    }


def report(args: Any, chains: Sequence[Sequence[StageSpec]], results: dict[str, Any]) -> None:
    runs = {name: results[name] for name in args.runs}
    title = (
        f"{len(chains)} configurations, {args.images} images, {args.epochs} epochs, "
        f"{args.concurrency} trials at once"
    )
    bench.table(
        title,
        (
            "",
            "wall s",
            "ratio",
            "attainable",
            "ideal",
            "stages",
            "forwards",
            "computing s",
            "waiting s",
            "busy",
        ),
        [
            (
                name + (f" (scaled from {len(f['sampled'])})" if "sampled" in f else ""),
                f["wall"],
                f.get("ratio"),
                f.get("attainable"),
                f.get("ideal"),
                f["stages"],
                f["forwards"],
                f["computing"],
                f["waiting"],
                f"{100 * f['busy']:.0f} %",
            )
            for name, f in runs.items()
        ],
    )
    if "by hand" in runs and "sampled" in runs["by hand"]:
        print("stages and forwards by hand are those of the sample")
    bench.table(
        "where the wall time goes, in seconds",
        ("", "starting", "teacher", "trials", "closing"),
        [
            (name, f["starting"], f["teacher_phase"], f["trials_seconds"], f["closing"])
            for name, f in runs.items()
        ],
    )
    bench.table(
        "the best student of each: accuracy in percent",
        ("", "chain", "drop", "validation", f"{args.held_out:,} held-out"),
        [
            (name, _name(chains[f["best"]]), _drop(chains[f["best"]]), f["validation"], f["test"])
            for name, f in runs.items()
        ],
    )
    if "agreement" in results:
        sampled = runs["by hand"].get("sampled", range(len(chains)))
        _report_agreement(args.held_out, [chains[i] for i in sampled], results["agreement"])


def _report_agreement(
    held_out: int, chains: Sequence[Sequence[StageSpec]], found: dict[str, Any]
) -> None:
    """Print how students of equal configurations differ, by hand and shared."""
    bench.table(
        f"accuracy of every student on {held_out:,} held-out images, in percent",
        ("", "drop", "by hand", "shared"),
        [
            (_name(chain), _drop(chain), hand, ours)
            for chain, hand, ours in zip(chains, found["by hand"], found["shared"], strict=True)
        ],
    )
    print(
        f"mean absolute difference {found['mean_absolute_difference']:.2f}, mean difference "
        f"{found['mean_difference']:+.2f} ± {found['mean_difference_error']:.2f}, largest "
        f"{found['largest']:.2f}; the list spans {found['spread_of_list']:.2f}"
    )


def _name(chain: Sequence[StageSpec]) -> str:
    return ">".join(stage.architecture.name.removeprefix("plain") for stage in chain)


def _drop(chain: Sequence[StageSpec]) -> float | None:
    distillation = chain[-1].distillation
    return distillation.drop_prob if distillation and len(chain) > 2 else None


def _check(results: dict[str, Any]) -> None:
    """Check what must hold on any machine."""
    again = results.get("again")
    if again is not None and (again["stages"] or again["forwards"]):
        raise SystemExit(
            f"the filled store was not enough: {again['stages']} stages trained, "
            f"{again['forwards']} images through teachers"
        )
    shared = results.get("shared")
    if shared is not None and shared["forwards"] != shared["counted_forwards"]:
        raise SystemExit(
            f"{shared['forwards']} images through teachers, "
            f"{shared['counted_forwards']:.0f} counted"
        )


if __name__ == "__main__":
    main()
