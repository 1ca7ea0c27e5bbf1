from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.stages import StagesOf

import dgkd_search
from dgkd_search.data import PreparedData
from dgkd_search.distillation.chain import Chain
from dgkd_search.errors import InputError
from dgkd_search.results.best import load_best, load_student, write_best
from dgkd_search.results.best_config import Accuracies, BestConfig
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.space import Configuration
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.recipe import Distillation
from dgkd_search.training.trainer import Trainer
from dgkd_search.utils.hashing import with_checksum

SETTINGS = Distillation(0.9, 4.0, "mean", 0.25)


@pytest.fixture
def run(
    tmp_path: Path, stages_of: StagesOf, digits: PreparedData, trained: tuple[Trainer, Trainer]
) -> RunFolder:
    """A run folder whose best student is the ``trained`` resnet14 under resnet20."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    best = BestConfig.of(
        7,
        Configuration(Chain(("resnet20", "resnet14")), SETTINGS, 0.05),
        stages_of("resnet20", "resnet14"),
        digits.info,
        Accuracies(trained[1].rows[-1].val_accuracy, 61.5, 50.0, None, 52.0, 70.0),
        options={"dataset": "digits", "data-dir": "somewhere"},
        test_reads=1,
    )
    write_best(run, best, trained[1].weights())
    return run


def edit(run: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file as if it had been written that way."""
    value: dict[str, Any] = dict(load_best(run.best))
    change(value)
    run.best.write_text(yaml.safe_dump(with_checksum(value)))


def test_best_yaml_says_the_whole_chain(run: RunFolder, stages_of: StagesOf) -> None:
    best = load_best(run.path)
    assert best == load_best(run.best)
    wanted = {
        "trial": 7,
        "family": "resnet",
        "teacher": "resnet20",
        "assistants": [],
        "student": "resnet14",
        "guidance": "dense",
        "drop_probability": None,  # one teacher: nothing to drop
        "temperature": 4.0,
        "kd_weight": 0.9,
        "test_accuracy": 61.5,
        "test_reads": 1,
    }
    assert {name: best[name] for name in wanted} == wanted
    assert [s["key"] for s in best["stages"]] == [
        spec.key for spec in stages_of("resnet20", "resnet14")
    ]
    assert best["comparison"]["plain_kd"] is None
    assert "path" not in best["data"]
    assert {"dgkd-search", "torch", "optuna", "python"} <= set(best["versions"])


def test_a_loaded_student_gives_the_very_logits_and_accuracy(
    run: RunFolder, digits: PreparedData, trained: tuple[Trainer, Trainer]
) -> None:
    data, learner = DeviceData(digits, torch.device("cpu")), trained[1]
    student = load_student(run.path)
    with torch.no_grad():
        expected = learner.model.eval()(data.normalize(data.val_images))
        assert torch.equal(student(data.val_images), expected)
        assert torch.equal(student(data.val_images.float()), expected)
        assert not torch.equal(student(data.val_images.float() / 255), expected)
    assert not any(module.training for module in student.modules())
    assert (student.channels, student.image_size) == (1, 8)
    assert student.classes == tuple("0123456789")
    stated = load_best(run.path)["validation_accuracy"]
    assert accuracy(student, [(data.val_images, data.val_labels)]) == stated
    assert dgkd_search.load_student is load_student
    assert torch.equal(load_student(str(run.best))(data.val_images), expected)


def test_missing_files_are_named(run: RunFolder, tmp_path: Path) -> None:
    run.student.unlink()
    with pytest.raises(InputError, match=r"student\.safetensors: can't be read \(No such file"):
        load_student(run.path)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"can't be read \(.*\); a finished search writes it"):
            load_student(path)


@pytest.mark.parametrize("change", [b"", b"more"])
def test_weights_that_best_yaml_does_not_name_are_refused(run: RunFolder, change: bytes) -> None:
    run.student.write_bytes(run.student.read_bytes() + change if change else b"")
    with pytest.raises(InputError, match="checksum") as refusal:
        load_student(run.path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "[]",
        "{",
        "a: b: c",
        "\x00",
        "format: 1",
        "format: 1\nstages: 3\nweights: 4",
        "format: 1\nstages: []\nweights: {sha256: x}",
        "[" * 5000,
        "format: 1\nweights: {}\nstages: !!python/object/apply:os.mkdir [pwned]",
    ],
)
def test_a_damaged_best_yaml_is_refused_in_one_line(
    run: RunFolder, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run.best.write_text(text)
    with pytest.raises(InputError, match=r"best\.yaml: is damaged; --resume of its run") as refusal:
        load_student(run.path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda best: best["stages"][-1].pop("recipe"),
        lambda best: best["stages"][-1]["architecture"].update(name="resnet9"),
        lambda best: best["stages"][-1]["architecture"].update(name="resnet20"),
        lambda best: best["stages"][-1]["architecture"].update(classes="ten"),
        lambda best: best["stages"][-1]["recipe"].update(epochs=0),
        lambda best: best["stages"][-1]["recipe"].update(nesterov=True),
        lambda best: best["stages"][-1].update(train_seed=None),
        lambda best: best["stages"][-1].update(version=[1]),
        lambda best: best["stages"][-1]["distillation"].update(loss={"name": ["x"]}),
        lambda best: best["stages"][-1]["distillation"].update(loss_scale=None),
        lambda best: best["data"].pop("mean"),
        lambda best: best["data"].update(std="x"),
        lambda best: best.update(weights=[]),
        lambda best: best.update(stages={}),
        lambda best: best["stages"].pop(0),  # the teacher of the other
        lambda best: best["stages"][-1].update(sources=["0" * 32]),
        lambda best: best["stages"].reverse(),
    ],
)
def test_a_best_yaml_that_does_not_fit_is_refused_in_one_line(run: RunFolder, change: Any) -> None:
    edit(run, change)
    with pytest.raises(InputError, match=r"best\.yaml: is damaged; --resume of its run") as refusal:
        load_student(run.path)
    assert "\n" not in str(refusal.value)


def test_what_best_yaml_says_can_be_read_as_its_table(run: RunFolder) -> None:
    best = load_best(run.path)
    table = best.to_json()
    assert best == table == dict(best) == best.copy() and best != {**table, "trial": 8}
    assert (best | {"trial": 8})["trial"] == 8
    assert json.loads(json.dumps(table)) == table
    assert best["stages"][-1]["key"] == best.stages[-1].key


def test_another_format_is_named(run: RunFolder) -> None:
    edit(run, lambda best: best.update(format=5))
    with pytest.raises(InputError, match="its format is 5, this version reads 1, 2, 3, 4"):
        load_best(run.path)


def test_every_word_of_best_yaml_is_under_its_checksum(run: RunFolder) -> None:
    text = run.best.read_text()
    for old, new in (
        ("outputs: null", "outputs: oull"),
        ("epochs: ", "epochs: 1"),
        ("digits", "x"),
    ):
        assert old in text
        run.best.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=r"best\.yaml: is damaged"):
            load_best(run.path)
    run.best.write_text("# a word of one's own\n" + text)
    assert "checksum" not in load_best(run.path)


def test_a_student_works_without_the_loss_that_taught_it(run: RunFolder) -> None:
    def own(best: dict[str, Any]) -> None:
        loss = {"name": "mse", "origin": "nowhere", "code": "c" * 32}
        best["stages"][-1]["distillation"] = Distillation().to_dict() | {"loss": loss}

    edit(run, own)
    assert not load_student(run.path).training


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("mine", "is from a custom family; name its module with --models mymodels"),
        (
            "resnet",
            "the code of mymodels has changed since its network was trained; restore that code",
        ),
    ],
)
def test_a_network_of_ones_own_needs_its_code(run: RunFolder, family: str, reason: str) -> None:
    own = {"family": family, "origin": "mymodels", "code": "c" * 32}
    edit(run, lambda best: best["stages"][-1]["architecture"].update(own))
    with pytest.raises(InputError) as refusal:
        load_student(run.path)
    assert reason in str(refusal.value) and "damaged" not in str(refusal.value)
