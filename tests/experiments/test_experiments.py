"""The benchmarks at minimal size: they run, and they count correctly."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.rayless import without_ray
from PIL import Image

from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models import get_family
from dgkd_search.models.architecture import Architecture
from dgkd_search.training import determinism as numerics
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a file of experiments/ as those files import each other."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module


class Here:
    """Replaces a new process, whose start takes seconds: calls in this process, immediately."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future


@pytest.fixture
def one_process(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make benchmarks start no processes."""
    monkeypatch.setattr(script("bench"), "processes", lambda _: contextlib.nullcontext(Here()))
    monkeypatch.setattr(
        numerics, "disable_malloc_trim", numerics.disable_malloc_trim
    )  # restored at the end


@pytest.fixture
def figures(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Run a benchmark's command; return the figures that it wrote."""

    def run(name: str, *arguments: str) -> dict[str, Any]:
        path = tmp_path / "figures.json"
        words = [*arguments, "--json", str(path)]
        monkeypatch.setattr(sys, "argv", [str(EXPERIMENTS / f"{name}.py"), *words])
        script(name).main(words)
        written: dict[str, Any] = json.loads(path.read_text())
        assert {"command", "versions", "threads", "sizes", "seconds", "figures"} <= set(written)
        assert str(tmp_path) not in path.read_text()
        found: dict[str, Any] = written["figures"]
        return found

    return run


# ---- counting ----------------------------------------------------------------------------------

COSTS = {"plain10": 10.0, "plain4": 5.0, "plain2": 1.0}


def cost(architecture: Architecture) -> float:
    return COSTS[architecture.name]


def chain(
    *models: str, drop: float = 0.0, augment: str = "none", epochs: int = 2, views: int = 0
) -> tuple[StageSpec, ...]:
    recipe = Recipe(epochs, 20, 0.1, 0.0, "constant", augment, views)
    return chain_stages(
        Chain(models),
        ChainSettings(
            architecture=get_family("plain").architectures(10, 3, 32),
            data="f" * 32,
            recipe=recipe,
            student_recipe=recipe,
            distillation=Distillation(drop_prob=drop),
            assistant_distillation=Distillation(),
            numerics=Numerics(),
        ),
    )


def test_operations_of_two_chains_are_those_counted_with_pencil(
    script: Callable[[str], ModuleType],
) -> None:
    operations = script("operations")
    chains = [chain("plain10", "plain2"), chain("plain10", "plain4", "plain2")]
    sizes = operations.Sizes(train=100, validation=10)
    hand = operations.by_hand(chains, sizes, cost)
    # Two epochs of 100 images, threefold: the teacher, an assistant, two students.
    assert hand.trained == 3 * 200 * (10 + 5 + 1 + 1)
    # The teacher guides both students and the assistant, the assistant one student.
    assert hand.taught == 200 * (10 + 10 + 10 + 5)
    assert hand.forwards == 4 * 200
    # The teacher and the assistant once, each student twice.
    assert hand.evaluated == 10 * (10 + 5 + 2 + 2)
    assert hand.stages == 4
    shared = operations.shared(chains, sizes, cost)
    assert shared.trained == hand.trained  # nothing here is trained twice by hand either
    assert shared.taught == 100 * (10 + 5)
    assert shared.forwards == 2 * 100
    assert shared.evaluated == 10 * 2 * (10 + 5 + 1 + 1)
    assert hand.total / shared.total == pytest.approx(17390 / 12040)


def test_what_is_shared_counts_once_and_what_is_dropped_not_at_all(
    script: Callable[[str], ModuleType],
) -> None:
    operations = script("operations")
    sizes = operations.Sizes(train=100, validation=0)
    models = ("plain10", "plain4", "plain2")
    chains = [chain(*models), chain(*models, drop=0.5)]
    hand, shared = operations.by_hand(chains, sizes, cost), operations.shared(chains, sizes, cost)
    assert hand.trained == 3 * 200 * (10 + 2 * (5 + 1))
    assert shared.trained == 3 * 200 * (10 + 5 + 2)
    # Each of two teachers with drop 0.5 survives with probability 5/8: 1/2, plus half of the 1/4 in
    # which both would be dropped and one is kept.
    assert hand.taught == 200 * (2 * 10 + (1 + 0.625) * 15)
    assert shared.taught == 100 * 15
    student = chains[1][-1].key
    pruned = operations.shared(chains, sizes, cost, epochs={student: 1})
    assert shared.trained - pruned.trained == 3 * 100
    assert operations.by_hand(chains, sizes, cost, teacher=False).stages == 4


def test_every_bank_is_counted_that_an_epoch_shows(script: Callable[[str], ModuleType]) -> None:
    operations = script("operations")
    sizes = operations.Sizes(train=101, validation=0)
    few = [chain("plain10", "plain2", augment="crop", epochs=6, views=4)]
    assert operations.shared(few, sizes, cost).taught == 4 * 101 * 10
    # A last mini-batch of a single image is never trained on.
    assert operations.by_hand(few, sizes, cost).forwards == 6 * 100


def test_operations_of_a_network_are_those_of_its_layers(
    script: Callable[[str], ModuleType],
) -> None:
    # plain2: 3x3 convolutions of 3 to 32 and 32 to 32 channels, a linear layer of 32 x 8 x 8.
    products = 9 * 3 * 32 * 32**2 + 9 * 32 * 32 * 16**2 + 32 * 8 * 8 * 10
    plain2 = Architecture("plain", "plain2", 10, 3, 32)
    assert script("operations").forward_operations(plain2) == 2 * products


@pytest.mark.parametrize(("preset", "count"), [("32", 32), ("64", 64)])
def test_a_preset_is_of_different_students(
    script: Callable[[str], ModuleType], preset: str, count: int
) -> None:
    bench_study = script("bench_study")
    chosen = bench_study.configurations(preset, seed=0)
    assert chosen == bench_study.configurations(preset, seed=0)
    pool = bench_study.POOLS[preset]
    students = {
        chain(
            "plain10",
            *[name for name in pool if params[f"use_{name}"]],
            "plain2",
            drop=params["drop_prob"],
        )[-1].key
        for params in chosen
    }
    assert len(students) == len(chosen) == count


def test_a_sample_is_scaled_but_for_the_start_and_the_teacher(
    script: Callable[[str], ModuleType],
) -> None:
    bench_study = script("bench_study")
    measured = {
        "wall": 100.0,
        "teacher_seconds": 20.0,
        "trials_seconds": 60.0,
        "inside_trials": 100.0,
        "computing": 110.0,
    }
    scaled = bench_study.scaled(measured, bench_study.Scale([1, 4], 5.0), 2)
    assert scaled["trials_seconds"] == 250  # five times 100 seconds of trials on two workers
    assert scaled["wall"] == 100 - 60 + 250
    assert scaled["computing"] == 20 + 5 * 90
    assert bench_study.busy(scaled, 2) == pytest.approx(450 / 500)


# ---- shared parts ------------------------------------------------------------------------------


def test_images_are_those_asked_for(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    bench = script("bench")
    made = bench.image_folder(tmp_path / "made", None, train=25, validation=10, test=10, seed=1)
    again = bench.image_folder(tmp_path / "again", None, train=25, validation=10, test=10, seed=1)
    files = sorted(path.relative_to(made) for path in made.rglob("*.ppm"))
    assert [sum(f.parts[0] == part for f in files) for part in bench.PARTS] == [25, 10, 10]
    assert all((made / f).read_bytes() == (again / f).read_bytes() for f in files)
    with Image.open(made / files[0]) as image:
        assert (image.mode, image.size) == ("RGB", (32, 32))
    # Real images come from a folder of the same shape; none is in both training and validation.
    linked = bench.image_folder(tmp_path / "linked", made, train=10, validation=10, test=10, seed=2)
    sources = [path.resolve() for part in ("train", "val") for path in (linked / part).rglob("*.*")]
    assert len(sources) == len(set(sources)) == 20
    assert all(path.is_relative_to((made / "train").resolve()) for path in sources)
    with pytest.raises(SystemExit, match="too few images"):
        bench.image_folder(tmp_path / "more", made, train=10, validation=10, test=90)


def test_turns_are_taken_and_the_first_round_is_left_out(
    script: Callable[[str], ModuleType],
) -> None:
    bench = script("bench")
    order: list[str] = []

    def action(name: str) -> Callable[[], float]:
        def turn() -> float:
            order.append(name)
            return float(len(order))

        return turn

    times = bench.in_rounds({"a": action("a"), "b": action("b")}, 2)
    assert "".join(order) == "abab" + "ba"
    assert times == {"a": [3.0, 6.0], "b": [4.0, 5.0]}
    assert bench.paired_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2


def test_places_of_files_are_no_part_of_a_command(script: Callable[[str], ModuleType]) -> None:
    words = ["/a/bench_x.py", "--data-dir", "/b", "--json=/c", "--images", "5"]
    said = "python experiments/bench_x.py --data-dir DIR --json=FILE --images 5"
    assert script("bench").command(words) == said


def test_a_process_of_its_own_is_no_copy_and_has_one_thread(
    script: Callable[[str], ModuleType],
) -> None:
    import torch

    with script("bench").processes(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(torch.get_num_threads).result() == 1


# ---- the benchmarks ----------------------------------------------------------------------------


@pytest.mark.usefixtures("one_process")
def test_steps_and_an_epoch_are_timed(figures: Callable[..., dict[str, Any]]) -> None:
    sizes = "--images 10 --batch-size 10 --rounds 1 --epoch-images 20 --epoch-rounds 1"
    found = figures("bench_step", *sizes.split(), *"--workers 0 --parts resnet,epoch".split())
    assert set(found["resnet"]["ratios"]) == {"stored/alone", "online/stored", "autograd/stored"}
    assert all(value > 0 for value in found["resnet"]["milliseconds"].values())
    assert found["epoch"]["ours/plain"] > 0


def test_starts_are_timed(
    figures: Callable[..., dict[str, Any]],
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = script("bench_start")
    quick = ("python", "import", "help", "first sign")
    monkeypatch.setattr(start, "MEASURES", {name: start.MEASURES[name] for name in quick})
    found = figures("bench_start", "--runs", "2")["seconds"]
    assert [*found] == [*quick]
    assert all(second > 0 for each in found.values() for second in each)


def test_autograd_goes_through_the_sources(script: Callable[[str], ModuleType]) -> None:
    import torch

    source = torch.nn.Linear(4, 3).requires_grad_(False)
    sources = script("bench_step").AutogradSources([source], Numerics())
    sources.logits([0], torch.ones(2, 4), torch.arange(2), 0).sum().backward()
    assert source.weight.grad is not None


@pytest.mark.usefixtures("one_process")
def test_numerics_are_timed(figures: Callable[..., dict[str, Any]]) -> None:
    sizes = "--images 10 --validation 10 --batch-size 10 --rounds 1 --models plain2"
    found = figures("bench_numerics", *sizes.split(), *"--ways contiguous,channels_last".split())
    assert len(found["plain2"]) == 1 + 2 * 2  # two ways, two treatments of memory
    assert found["plain2"]["channels_last, memory kept"]["step_ratio"] == 1


@pytest.mark.usefixtures("one_process")
def test_banks_are_compared_with_fresh_views(figures: Callable[..., dict[str, Any]]) -> None:
    sizes = "--images 20 --validation 10 --epochs 2 --teacher-epochs 1 --seeds 1 --processes 1"
    models = "--family plain-c10 --teacher plain4-c10 --student plain2-c10"
    found = figures("bench_banks", *sizes.split(), *models.split())
    assert set(found["views"]) == {"1", "2", "fresh"}
    assert found["views"]["fresh"]["difference"] == 0


def test_fresh_views_are_other_ones_and_new_in_every_epoch(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    import torch

    from dgkd_search.training.trainer import views_of

    bench, banks = script("bench"), script("bench_banks")
    folder = bench.image_folder(tmp_path / "images", None, train=10, validation=10)
    (stage,), data = bench.planned(
        folder, tmp_path / "store", ["resnet8"], epochs=2, augment="crop+flip"
    )
    assert stage.recipe.views == 2
    fresh = banks.FreshData(data, torch.device("cpu"), seed=5)
    views, rows = views_of(data.info, "crop+flip"), [torch.arange(10)]
    shown = [next(iter(fresh.batches(rows, views, bank)))[1].numpy() for bank in (0, 1, 0)]
    usual = next(iter(banks.DeviceData.batches(fresh, rows, views, 0)))[1].numpy()
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], usual)
    assert np.array_equal(shown[0], shown[2])


@pytest.mark.e2e
def test_a_study_by_hand_and_shared_give_the_same_students(
    figures: Callable[..., dict[str, Any]], thorough: bool
) -> None:
    if not thorough:
        pytest.skip("a minute and a half; pytest --thorough")
    sizes = "--images 64 --validation 20 --held-out 20 --epochs 1 --first 2 --concurrency 1"
    found = figures("bench_study", *sizes.split(), "--runs", "by hand,shared")
    hand, shared = found["by hand"], found["shared"]
    assert found["agreement"]["mean_absolute_difference"] <= 5  # one of twenty held-out images
    assert hand["stages"] == shared["stages"] == 5  # a teacher, two assistants, two students
    assert shared["forwards"] == shared["counted_forwards"] == 3 * 64
    assert shared["ideal"] > 1
    assert shared["ratio"] == pytest.approx(hand["wall"] / shared["wall"], rel=1e-4)


@pytest.mark.e2e
def test_overhead_of_a_search_is_timed(
    figures: Callable[..., dict[str, Any]],
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    thorough: bool,
) -> None:
    """In this process and without Ray; with ``--thorough``, the complete benchmark."""
    monkeypatch.setattr(script("bench_overhead"), "POOL", ("resnet20", "resnet14"))
    if not thorough:
        request.getfixturevalue("one_process")
    with contextlib.nullcontext() if thorough else without_ray():
        found = figures(
            "bench_overhead", *"--trials 3 --drops 0 --concurrency 1 --repeats 1 --images 0".split()
        )
    assert found["time"]["1"][0]["a_trial"] > 0
    assert found["time"]["alone_ms"] > 0


def test_memory_of_this_process_is_read(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    memory = script("bench_overhead").memory
    before = memory()
    assert before["peak"] >= before["own"] > 1
    np.save(tmp_path / "train_images.npy", np.ones(4 * 2**20, np.uint8))
    mapped = np.load(tmp_path / "train_images.npy", mmap_mode="r")
    assert mapped.sum() == 4 * 2**20  # every page was read
    assert memory()["images"] - before["images"] == pytest.approx(4, abs=0.1)
