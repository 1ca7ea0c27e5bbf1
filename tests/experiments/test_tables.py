"""The studies in experiments/tables: each can be planned at both scales, and one runs."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.models import get_family

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments" / "tables").glob("*.yaml"))


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return import_module("tables")


def test_there_is_a_study_for_each_table() -> None:
    assert {path.stem for path in STUDIES} >= {
        "plain_cifar10",
        "plain_cifar100",
        "resnet_cifar10",
        "wrn_cifar100",
        "vgg_cifar100",
        "resnet_imagenet",
        "pool_cifar10",
    }


@pytest.mark.parametrize("scale", ["paper", "small"])
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_row_is_a_chain_that_can_be_trained(
    tables: ModuleType, path: Path, scale: str
) -> None:
    title, found, options, seeds = tables.read(path, scale)
    assert title and found and seeds >= 1
    config = resolve(parse_options({**options, "data_dir": "somewhere"}, "{}")).config
    family = get_family(config.family)
    for table in found:
        assert len({row.name for row in table.rows}) == len(table.rows)
        assert set(table.published) <= {row.name for row in table.rows}
        for row in table.rows:
            sizes = [family.member(name).size for name in row.chain]
            assert sizes == sorted(sizes, reverse=True)
            assert row.guidance in ("dense", "sequential")
            parse_options(row.options, "{}")
    if scale == "paper" and "epochs" not in options:
        assert config.recipe.epochs >= 100


def test_the_pool_is_every_chain_at_every_drop(tables: ModuleType) -> None:
    (path,) = [path for path in STUDIES if path.stem == "pool_cifar10"]
    _, (table,), _, _ = tables.read(path, "small")
    assert len(table.rows) == 1 + 7 * 3
    assert len({row.chain for row in table.rows}) == 8


def test_a_study_is_run_and_drawn(
    tables: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study: dict[str, Any] = {
        "title": "a study",
        "options": {"family": "resnet", "teacher": "resnet20", "student": "resnet8"},
        "scales": {
            "small": {
                "seeds": 2,
                "options": {
                    "dataset": "digits",
                    "train-limit": 100,
                    "epochs": 1,
                    "batch-size": 32,
                },
            }
        },
        "tables": [
            {
                "title": "Methods",
                "rows": [
                    {"name": "NOKD", "chain": "8", "published": 12.5},
                    {"name": "DGKD, one", "chain": "20 14 8", "drop": 0.5},
                ],
            },
            {
                "title": "Counts",
                "rows": [
                    {"name": "none (KD)", "chain": "20 8"},
                    {"name": "DGKD, one", "chain": "20 14 8", "drop": 0.5},
                    {"name": "TAKD, one", "chain": "20 14 8", "guidance": "sequential"},
                ],
            },
        ],
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    words = ["--scale", "small", "--store", tmp_path / "store", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["tables.py", *map(str, [tmp_path / "study.yaml", *words])])
    tables.main()
    out, err = capsys.readouterr()
    assert "| NOKD (published 12.50) | " in out
    assert "8 of 8, " in err, "what two tables share is taught once"
    assert str(tmp_path / "store") not in out, "places of this machine stay out of the command"
    found = json.loads((tmp_path / "out" / "study_small.json").read_text())
    assert [len(row["runs"]) for row in found["rows"]] == [2, 2, 2, 2]
    assert "store" not in found["options"]
    monkeypatch.syspath_prepend(ROOT / "analysis")
    figures = import_module("figures")
    path = str(tmp_path / "out" / "study_small.json")
    monkeypatch.setattr(sys, "argv", ["figures.py", path])
    figures.main()
    drawn = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {"study_small_methods.png", "study_small_counts.png"}


def test_overlap_of_errors_by_hand(tables: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(ROOT / "analysis")
    overlap = import_module("overlap").overlap
    truth = torch.tensor([0, 0, 0, 0, 1])
    upper = torch.tensor([1, 1, 2, 2, 1])  # four errors
    lower = torch.tensor([1, 2, 0, 2, 0])  # three errors again, two with the same class
    assert overlap(upper, lower, truth) == (75.0, 50.0)
