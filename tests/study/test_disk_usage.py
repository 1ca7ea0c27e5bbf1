"""Estimates of the size of stored outputs, compared with every chain of small pools."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.studies import INFO, make_config, make_space

from dgkd_search.data import DataInfo
from dgkd_search.store.store import Store
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.disk_usage import OutputsEstimate, estimate_outputs, space_errors
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import SearchSpace
from dgkd_search.training.recipe import Numerics, Recipe
from dgkd_search.training.spec import OutputsSpec
from dgkd_search.utils.formatting import format_bytes, pluralize

POOLS = [(), ("resnet14",), ("resnet20", "resnet14"), ("resnet32", "resnet20", "resnet14")]
BOUNDED = [(pool, bound) for pool in POOLS for bound in range(len(pool) + 1)]
ALONE: list[tuple[str, ...]] = [("dense",), ("sequential",), ("teacher",), ("none",)]
MIXED = [
    ("dense", "sequential"),
    ("dense", "teacher"),
    ("none", "teacher"),
    ("sequential", "none", "dense", "teacher"),
]
AMPLE = 10_000


def estimate_for(
    config: StudyConfig, info: DataInfo, concurrency: int, shared: bool = True
) -> OutputsEstimate:
    return estimate_outputs(config, info.train_count, len(info.classes), concurrency, shared)


def config_of(pool: Sequence[str], bound: int, **values: Any) -> StudyConfig:
    budget, outputs = values.pop("budget", AMPLE), values.pop("outputs", "stored")
    space = make_space(tuple(pool), max_assistants=bound, **values)
    return make_config(space, budget=budget, outputs=outputs)


def sources_of(config: StudyConfig) -> list[frozenset[str]]:
    """Return the keys of all teachers in the chain of each student of the space."""
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    planner = Planner(config, INFO)
    chains = [planner.stages(space.configuration(params)) for params in space.all_params()]
    return [frozenset(key for spec in stages for key in spec.teachers) for stages in chains]


def most(sources: Sequence[frozenset[str]], trials: int) -> int:
    """Return the number of teachers that ``trials`` students need at most."""
    chosen = itertools.combinations(sources, min(trials, len(sources)))
    return max(len(frozenset().union(*some)) for some in chosen)


def estimated(config: StudyConfig, concurrency: int = 1) -> tuple[int, int]:
    """Return the estimated number of teachers of the running trials and of the whole study."""
    estimate = estimate_for(config, INFO, concurrency)
    if not estimate.teacher:
        assert (estimate.store, estimate.running, estimate.total) == (0, 0, 0)
        return 0, 0
    assert estimate.running % estimate.teacher == estimate.total % estimate.teacher == 0
    return estimate.running // estimate.teacher, estimate.total // estimate.teacher


@pytest.mark.parametrize("guidances", ALONE, ids="-".join)
@pytest.mark.parametrize(("pool", "bound"), BOUNDED)
def test_the_estimate_is_exact_for_one_guidance_and_an_ample_budget(
    pool: tuple[str, ...], bound: int, guidances: tuple[str, ...]
) -> None:
    config = config_of(pool, bound, guidances=guidances, drop_probs=(0.0, 0.25))
    exact = len(frozenset().union(*sources_of(config)))
    assert estimated(config)[1] == exact
    assert estimated(config, concurrency=AMPLE)[0] == exact


@pytest.mark.parametrize("scope", ["student", "all"])
@pytest.mark.parametrize("guidances", ALONE + MIXED, ids="-".join)
@pytest.mark.parametrize(("pool", "bound"), BOUNDED)
def test_the_estimate_is_never_too_low(
    pool: tuple[str, ...], bound: int, guidances: tuple[str, ...], scope: str
) -> None:
    config = config_of(
        pool, bound, guidances=guidances, drop_probs=(0.0, 0.25, 0.5), drop_scope=scope
    )
    exact = len(frozenset().union(*sources_of(config)))
    assert estimated(config)[1] >= exact
    assert estimated(config, concurrency=AMPLE)[0] >= exact


@pytest.mark.parametrize("scope", ["student", "all"])
@pytest.mark.parametrize("guidances", [("dense",), ("sequential",), MIXED[0]], ids="-".join)
@pytest.mark.parametrize(("pool", "bound"), [(POOLS[2], 2), (POOLS[3], 1), (POOLS[3], 3)])
def test_a_few_trials_need_no_more_than_is_estimated(
    pool: tuple[str, ...], bound: int, guidances: tuple[str, ...], scope: str
) -> None:
    values: dict[str, Any] = {"guidances": guidances, "drop_scope": scope}
    values["drop_probs"] = (0.0, 0.5) if scope == "all" else (0.0,)
    sources = sources_of(config_of(pool, bound, **values))
    for trials in (1, 2, 3):
        needed = most(sources, trials)
        assert estimated(config_of(pool, bound, budget=trials, **values))[1] >= needed
        assert estimated(config_of(pool, bound, **values), concurrency=trials)[0] >= needed


def test_a_small_budget_bounds_the_estimate_for() -> None:
    pool = tuple(f"resnet{6 * n + 2}" for n in range(8, 1, -1))
    assert len(pool) == 7
    config = config_of(pool, 3, budget=5)
    # At most five trials with a shared teacher and three assistants each.
    assert estimated(config, concurrency=2) == (1 + 2 * 3, 1 + 5 * 3)
    assert estimated(replace(config, budget=AMPLE))[1] == 1 + 7 + 21 + 35


def test_room_grows_with_images_classes_and_views() -> None:
    config = config_of(POOLS[1], 1)
    one = estimate_for(config, INFO, 1)
    assert one.views == 1
    assert one.total == 2 * one.teacher
    two, ten = Recipe(9, 32, 0.1, 0, "cosine", "crop", 2), Recipe(20, 32, 0.1, 0, "cosine", "crop")
    for recipe, student, views in ((two, ten, 20), (ten, two, 20), (two, two, 2)):
        more = estimate_for(replace(config, recipe=recipe, student_recipe=student), INFO, 1)
        assert more.views == views
        assert more.teacher == views * one.teacher
    large = replace(INFO, train_count=50_000, classes=tuple(map(str, range(100))))
    # float16: the values without headers take 10 MB
    assert 10**7 <= estimate_for(config, large, 1).teacher < 1.01 * 10**7


@pytest.mark.parametrize(("images", "classes"), [(2, 2), (100, 10), (3000, 100)])
def test_what_is_stored_takes_no_more_than_is_estimated(
    tmp_path: Path, images: int, classes: int
) -> None:
    info = replace(INFO, train_count=images, classes=tuple(map(str, range(classes))))
    estimate = estimate_for(config_of(POOLS[1], 1), info, 1)
    store = Store(tmp_path)
    spec = OutputsSpec("a" * 32, "crop+flip", 31, Numerics("cuda", 64, "bf16", "channels_last"))
    store.outputs.put(spec, np.zeros((images, classes), np.float16))
    (file,) = store.outputs.files()
    assert 2 * images * classes < file.size <= estimate.teacher < file.size + 4096


@pytest.mark.parametrize("guidances", [*ALONE, MIXED[0]], ids="-".join)
def test_online_sources_take_no_room(guidances: tuple[str, ...]) -> None:
    config = config_of(POOLS[3], 3, guidances=guidances, outputs="online")
    assert estimated(config, concurrency=4) == (0, 0)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 kB"),
        (1536, "1.5 kB"),
        (20 * 1024, "20 kB"),
        (1.5 * 2**20, "1.5 MB"),
        (99.6 * 2**20, "100 MB"),
        (20 * 2**30, "20 GB"),
        (2.5 * 2**40, "2.5 TB"),
        (5000 * 2**40, "5000.0 TB"),
    ],
)
def test_readable(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_private_stores_share_not_even_the_teacher() -> None:
    config = config_of(("resnet32", "resnet20", "resnet14"), 2, budget=8)
    shared = estimate_for(config, INFO, 4)
    private = estimate_for(config, INFO, 4, shared=False)
    assert private.teacher == shared.teacher
    # The limit applies to each store, the disk to all of them: all stay until the end.
    assert private.store == 3 * private.teacher
    assert private.running == 4 * private.store
    assert private.total == 8 * private.store
    assert shared.store == shared.running


def test_running_trials_never_need_more_than_all_of_them() -> None:
    config = config_of(("resnet32", "resnet20", "resnet14"), 3, budget=1)
    assert estimated(config, concurrency=8) == (4, 4)


def test_an_estimate_and_its_refusal_in_words() -> None:
    config = config_of(("resnet14",), 1)
    one = estimate_for(config, INFO, 1)
    source, total = format_bytes(one.teacher), format_bytes(one.total)
    assert str(one) == f"up to {source} a teacher (1 view), {total} in total"
    assert str(replace(one, views=9)).startswith(f"up to {source} a teacher (9 views)")
    assert str(OutputsEstimate(1, 0, 0, 0, 0)) == "none, teachers run online"
    assert space_errors(one, "--store-limit", 2048, None) == []
    assert space_errors(one, "--store-limit", 2048, 2048) == []
    told = "--store-limit: stored outputs of the running trials need 2.0 kB, and there is room for "
    assert space_errors(one, "--store-limit", 2048, 1024) == [
        f"{told}1.0 kB; use --outputs online, or make room"
    ]
    assert space_errors(replace(one, views=9), "--store-limit", 2048, 1024) == [
        f"{told}1.0 kB; use --outputs online, fewer --views (now 9), or make room"
    ]
    assert [pluralize(n, "view") for n in (0, 1, 2)] == ["0 views", "1 view", "2 views"]
