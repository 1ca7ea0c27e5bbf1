from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from helpers.registries import isolate

import dgkd_search
from dgkd_search.errors import InputError
from dgkd_search.store.store import Store
from dgkd_search.training.train_stage import train_stage
from dgkd_search.workflows.single_chain import plan, run_trial

CHAIN = ["resnet20", "resnet14", "resnet8"]


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    """Return options of a plan that trains in a moment, with a new store."""
    return {"dataset": "digits", "train_limit": 100, "epochs": 1, "store": str(tmp_path / "store")}


def test_a_stage_trains_in_three_lines(small: dict[str, Any]) -> None:
    stages, data = plan(["resnet14", "resnet8"], **small)
    teacher = train_stage(stages[0], data)
    student = train_stage(stages[1], data, [teacher.model])
    assert student.finished
    assert 0 <= student.rows[-1].val_accuracy <= 100
    store = Store(small["store"])
    assert all(stage.key not in store for stage in stages)  # train_stage stores nothing


def test_a_trial_runs_in_two_lines_and_is_not_repeated(small: dict[str, Any]) -> None:
    stages, data = plan(CHAIN, **small)
    first = run_trial(stages, data, small["store"])
    assert [(stage.name, stage.trained) for stage in first.stages] == [(n, 1) for n in CHAIN]
    second = run_trial(stages, data, Path(small["store"]))
    assert [stage.trained for stage in second.stages] == [0, 0, 0]
    assert second.val_accuracy == first.val_accuracy


def test_a_trial_may_have_a_store_of_its_own(small: dict[str, Any]) -> None:
    stages, data = plan(CHAIN, **small)
    for _ in range(2):
        result = run_trial(stages, data, "none")
        assert [stage.trained for stage in result.stages] == [1, 1, 1]
    assert not any(stage.key in Store(small["store"]) for stage in stages)
    assert not Path("none").exists()


def test_a_plan_is_the_chain_that_was_named(small: dict[str, Any]) -> None:
    stages, data = plan(
        CHAIN, drop_prob=0.25, temperature=3, kd_weight=0.5, student_epochs=4, seed=9, **small
    )
    assert [stage.architecture.name for stage in stages] == CHAIN
    assert [stage.teachers for stage in stages] == [
        (),
        (stages[0].key,),
        (stages[0].key, stages[1].key),
    ]
    assert [stage.recipe.epochs for stage in stages] == [1, 1, 4]
    assert {stage.data for stage in stages} == {data.info.fingerprint}
    assert data.info.train_count == 100
    student = stages[-1].distillation
    assert student is not None
    assert (student.drop_prob, student.temperature, student.kd_weight) == (0.25, 3.0, 0.5)
    assert stages[1].distillation is not None
    assert stages[1].distillation.drop_prob == 0  # only the student's teachers are dropped


def test_drop_scope_all_reaches_assistants(small: dict[str, Any]) -> None:
    stages, _ = plan(["resnet26", *CHAIN], drop_prob=0.25, drop_scope="all", **small)
    drops = [stage.distillation.drop_prob for stage in stages if stage.distillation]
    assert drops == [0, 0.25, 0.25]  # with one teacher nothing can be dropped


@pytest.mark.parametrize(
    ("guidance", "sources"),
    [("dense", [0, 1, 2]), ("sequential", [0, 1, 1]), ("teacher", [0, 1]), ("none", [0])],
)
def test_guidance_says_who_teaches(
    small: dict[str, Any], guidance: str, sources: list[int]
) -> None:
    stages, _ = plan(CHAIN, guidance=guidance, **small)
    assert [len(stage.teachers) for stage in stages] == sources


def test_one_model_alone_is_trained_on_labels(small: dict[str, Any]) -> None:
    stages, _ = plan(["plain2"], family="plain", **small)
    assert len(stages) == 1
    assert stages[0].distillation is None


@pytest.mark.parametrize(
    ("models", "options", "parts"),
    [
        (["resnet9"], {}, ["resnet9"]),
        (["resnet20", "plain4", "resnet8"], {}, ["plain4"]),
        (["resnet8", "resnet14"], {}, ["resnet8 is not larger than resnet14"]),
        (["resnet8", "resnet8"], {}, ["twice"]),
        ([], {}, ["no model"]),
        (CHAIN, {"guidance": "sparse"}, ["'sparse'", "dense, sequential, teacher, none"]),
        (CHAIN, {"drop_prob": 1}, ["drop-prob 1"]),
        (CHAIN, {"drop_prob": -0.1}, ["drop-prob -0.1"]),
        (CHAIN, {"dataset": "mnist"}, ["dataset mnist"]),
        (CHAIN, {"epohcs": 3, "lr": -1}, ["epohcs: unknown option", "epochs?", "lr -1"]),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_and_nothing_written(
    small: dict[str, Any], models: list[str], options: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(InputError) as refusal:
        plan(models, **{**small, **options})
    assert all(part in str(refusal.value) for part in parts), str(refusal.value)
    assert all("\n" not in message for message in refusal.value.messages)
    assert not Path(small["store"]).exists()


@pytest.mark.parametrize("how", ["of its own", "of a package", "of a module that it names"])
def test_a_plan_knows_a_guidance_of_the_module_that_is_named(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    isolate(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"rules_{len(how)}"
    rule = "from dgkd_search import Guidance, register_guidance\n\n\n@register_guidance\n"
    rule += "class Last(Guidance):\n    name, method = 'last', 'LastKD'\n\n"
    rule += "    def teachers(self, position):\n        return (position - 1,)\n"
    if how == "of its own":
        (tmp_path / f"{name}.py").write_text(rule)
    elif how == "of a package":
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"from {name} import last\n")
        (tmp_path / name / "last.py").write_text(rule)
    else:
        (tmp_path / f"{name}.py").write_text(f"import {name}_last\n")
        (tmp_path / f"{name}_last.py").write_text(rule)
    models = ["resnet20", "resnet14", "resnet8"]
    stages, _ = plan(models, **{**small, "guidance": "last", "models": name})
    assert [len(stage.teachers) for stage in stages] == [0, 1, 1]


PUBLIC = """
import types, dgkd_search
for turn in range(2):
    for name in dgkd_search.__all__:
        value = getattr(dgkd_search, name)
        assert callable(value) and not isinstance(value, types.ModuleType), (turn, name)
"""


def test_public_names_stay_functions_however_often_they_are_asked_for() -> None:
    subprocess.run([sys.executable, "-c", PUBLIC], check=True)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert dgkd_search.__version__ == version("dgkd-search")
