"""Small real data, and chains that train on them in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from helpers.stages import StagesOf, WithoutSeconds

from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.models import get_family
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.recipe import Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.trainer import Trainer

# A slow example on a busy machine is not a failure.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=100)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=450)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """100 images for training and 50 for validation, gray, 8 × 8, ten classes."""
    return prepare(DataConfig("digits", train_limit=100), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def stages_of(digits: PreparedData) -> StagesOf:
    def make(
        *models: str,
        guidance: str = "dense",
        epochs: int = 1,
        student_epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 0.05,
        schedule: str = "constant",
        augment: str = "none",
        threads: int = 1,
        train_seed: int = 0,
        replicate: int = 0,
        **distillation: Any,
    ) -> tuple[StageSpec, ...]:
        info = digits.info
        recipes = [
            Recipe(count, batch_size, lr, 5e-4, schedule, augment)
            for count in (epochs, student_epochs or epochs)
        ]
        return chain_stages(
            Chain(models, guidance),
            ChainSettings(
                architecture=get_family("resnet").architectures(
                    len(info.classes), info.channels, info.image_size
                ),
                data=info.fingerprint,
                recipe=recipes[0],
                student_recipe=recipes[1],
                distillation=Distillation(**distillation),
                assistant_distillation=Distillation(),
                numerics=Numerics(threads=threads),
                train_seed=train_seed,
                replicate=replicate,
            ),
        )

    return make


@pytest.fixture(scope="session")
def trained(digits: PreparedData, stages_of: StagesOf) -> tuple[Trainer, Trainer]:
    """resnet20 and resnet14, one epoch each: the first two models of many chains."""
    first, second = stages_of("resnet20", "resnet14")
    teacher = train_stage(first, digits)
    return teacher, train_stage(second, digits, [teacher.model])


def _without_seconds(rows: Iterable[EpochMetrics]) -> list[dict[str, Any]]:
    return [{k: v for k, v in asdict(row).items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="session")
def without_seconds() -> WithoutSeconds:
    """Convert rows to dictionaries without times, which differ between runs."""
    return _without_seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="also what takes too long for every commit: every fault at every point of a search",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # xdist would sort files by the number of their tests
    if config.getoption("--thorough"):
        hypothesis.settings.load_profile("thorough")


@pytest.fixture(scope="session")
def thorough(pytestconfig: pytest.Config) -> bool:
    """Whether exhaustive tests run (``--thorough``)."""
    return bool(pytestconfig.getoption("--thorough"))


# Slow files, the slowest first.
LONG = (
    "e2e/test_search", "e2e/test_faults", "e2e/test_same_results", "e2e/test_cluster",
    "e2e/test_output", "e2e/test_private", "e2e/test_two_searches",
    "robustness/test_search_points", "robustness/test_resumed_search",
    "distillation/test_trial_stores", "robustness/test_crash_points", "distillation/test_trial",
    "experiments/test_experiments", "results/report/test_page", "training/test_determinism",
    "workflows/test_export", "workflows/test_compare", "robustness/test_fuzz",
    "callbacks/test_notebook", "distillation/test_teacher_outputs", "training/test_streaming",
    "models/test_families", "results/test_manifest", "workflows/test_retrain", "e2e/test_pages",
    "workflows/test_export_clean", "robustness/test_mutations",
    "experiments/test_tables", "study/test_sampler", "models/test_registry", "e2e/test_extensions",
    "training/test_trainer", "compatibility/test_frozen", "robustness/test_damage_sweep",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow files first, so that no worker idles at the end while another runs one."""
    ranks = {name: rank for rank, name in enumerate(LONG)}
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        return ranks.get(str(item.path.relative_to(here).with_suffix("")), len(LONG))

    items.sort(key=rank)
