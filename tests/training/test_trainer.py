from __future__ import annotations

import copy
import math
import random
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from helpers.random_states import random_states
from helpers.stages import StagesOf, WithoutSeconds
from helpers.trainers import CPU, Spy
from torch import Tensor, nn

from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import StageFailed
from dgkd_search.training import trainer as stage_module
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.recipe import Numerics, Recipe
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import OnlineTeachers
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.trainer import Trainer

CHAIN = ("resnet20", "resnet14", "resnet8")
HARD: dict[str, Any] = {
    "augment": "crop+flip",
    "drop_prob": 0.5,
    "schedule": "onecycle",
    "epochs": 4,
}


def run(learner: Trainer) -> Trainer:
    while not learner.finished:
        learner.train_epoch()
    return learner


def test_frozen_sources_are_left_as_they_were(
    stages_of: StagesOf, data: DeviceData, trained: tuple[Trainer, Trainer]
) -> None:
    models: list[nn.Module] = [copy.deepcopy(learner.model).train() for learner in trained]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    modes: list[bool] = []
    spy = Spy(
        OnlineTeachers(models, CPU, Numerics()),
        lambda: modes.extend(model.training for model in models),
    )
    learner = run(Trainer(stages_of(*CHAIN, epochs=2)[-1], data, spy))
    assert len(modes) == 2 * 4 * 2  # teachers, batches, epochs
    assert not any(modes)
    for model, state in zip(models, before, strict=True):
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert any("running_mean" in name for name in state)
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
    assert all(p.grad is not None for p in learner.model.parameters())


def test_logits_of_a_source_are_those_of_its_model_without_history(
    data: DeviceData, sources: OnlineTeachers, trained: tuple[Trainer, Trainer]
) -> None:
    images, rows = data.normalize(data.images[:5]), torch.arange(5)
    logits = sources.logits([0, 1], images, rows, 0)
    with torch.no_grad():
        expected = [learner.model.eval()(images) for learner in trained]
    assert torch.equal(logits, torch.stack(expected))
    assert torch.equal(sources.logits([1], images, rows, 0)[0], expected[1])
    assert not logits.requires_grad
    assert not logits.is_inference()  # autograd may save it


def test_dropped_sources_are_not_run(
    stages_of: StagesOf,
    data: DeviceData,
    trained: tuple[Trainer, Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models: list[nn.Module] = []
    mask = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 1]]).bool()
    asked: list[tuple[Any, ...]] = []

    def draw(steps: int, count: int, drop: float, generator: torch.Generator) -> Tensor:
        asked.append((steps, count, drop))
        return mask

    monkeypatch.setattr(stage_module, "sample_teacher_mask", draw)
    runs: list[int] = []
    for i, learner in enumerate(trained):
        model = copy.deepcopy(learner.model)
        model.register_forward_hook(lambda *_, i=i: runs.append(i))
        models.append(model)
    spy = Spy(OnlineTeachers(models, CPU, Numerics()))
    row = Trainer(stages_of(*CHAIN, drop_prob=0.25)[-1], data, spy).train_epoch()
    assert asked == [(4, 2, 0.25)]
    assert [which for which, _ in spy.asked] == [[0], [1], [0, 1], [1]]
    assert runs == [0, 1, 0, 1, 1]
    assert row.taught == 32 + 32 + 2 * 32 + 4


def test_every_epoch_draws_other_survivors(
    stages_of: StagesOf, data: DeviceData, sources: OnlineTeachers
) -> None:
    spy = Spy(sources)
    run(Trainer(stages_of(*CHAIN, drop_prob=0.5, epochs=4, batch_size=10)[-1], data, spy))
    drawn = [tuple(which) for which, _ in spy.asked]
    assert len({tuple(drawn[i : i + 10]) for i in range(0, 40, 10)}) > 1


@pytest.mark.parametrize("scale", ["sum", "mean"])
def test_first_loss_is_equation_7_on_the_whole_model(
    stages_of: StagesOf,
    data: DeviceData,
    sources: OnlineTeachers,
    trained: tuple[Trainer, Trainer],
    scale: str,
) -> None:
    # One batch of all images with a rate near 0: the weights stay, so the loss can be recomputed.
    spec = stages_of(*CHAIN, batch_size=100, lr=1e-30, loss_scale=scale, temperature=3.0)[-1]
    learner = Trainer(spec, data, sources)
    loss = learner.train_epoch().train_loss
    images = data.normalize(data.images)
    with torch.no_grad():
        z = learner.model.train()(images).double()
        taught = [learner.model.eval()(images).double() for learner in trained]
    rows, soft = torch.arange(100), (z / 3).softmax(1)
    cross_entropy = -z.softmax(1)[rows, data.train_labels].log().mean()
    kl = sum(((t / 3).softmax(1) * ((t / 3).softmax(1) / soft).log()).sum() / 100 for t in taught)
    expected = 2 * 0.1 * cross_entropy + 0.9 * 9 * kl
    assert loss == pytest.approx(expected.item() / (2 if scale == "mean" else 1), rel=1e-4)


def test_one_spec_gives_one_model_bit_by_bit(
    stages_of: StagesOf, data: DeviceData, sources: OnlineTeachers, without_seconds: WithoutSeconds
) -> None:
    spec = stages_of(*CHAIN, **HARD)[-1]
    one, two = run(Trainer(spec, data, sources)), run(Trainer(spec, data, sources))
    assert one.weights() == two.weights()
    assert without_seconds(one.rows) == without_seconds(two.rows)


@pytest.mark.parametrize("change", [{"train_seed": 1}, {"replicate": 1}, {"batch_size": 16}])
def test_another_seed_or_recipe_gives_another_model(
    stages_of: StagesOf, data: DeviceData, change: dict[str, Any]
) -> None:
    specs = [stages_of("resnet8"), stages_of("resnet8", **change)]
    fresh = [Trainer(stages[-1], data).weights() for stages in specs]
    assert fresh[0] != fresh[1]  # the initialization differs already


def test_global_random_state_is_neither_read_nor_changed(
    stages_of: StagesOf, data: DeviceData, sources: OnlineTeachers
) -> None:
    spec, weights = stages_of(*CHAIN, **HARD)[-1], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = random_states()
        weights.append(run(Trainer(spec, data, sources)).weights())
        assert random_states() == before
    assert weights[0] == weights[1]


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4])
def test_a_stage_carried_on_ends_as_if_never_stopped(
    stages_of: StagesOf,
    data: DeviceData,
    sources: OnlineTeachers,
    without_seconds: WithoutSeconds,
    stop: int,
) -> None:
    spec = stages_of(*CHAIN, **HARD)[-1]
    whole, first = run(Trainer(spec, data, sources)), Trainer(spec, data, sources)
    for _ in range(stop):
        first.train_epoch()
    second = Trainer(spec, data, sources)
    second.restore(first.checkpoint(), first.rows)
    assert second.epoch == stop
    assert run(second).weights() == whole.weights()
    assert without_seconds(second.rows) == without_seconds(whole.rows)


def test_restoring_forgets_what_the_learner_did_before(
    stages_of: StagesOf, data: DeviceData
) -> None:
    spec = stages_of("resnet8", epochs=2)[0]
    whole = Trainer(spec, data)
    whole.train_epoch()
    checkpoint, rows = whole.checkpoint(), list(whole.rows)
    run(whole)
    again = run(Trainer(spec, data))
    again.restore(checkpoint, rows)
    assert run(again).weights() == whole.weights()


def test_a_learner_learns(stages_of: StagesOf, tmp_path: Any) -> None:
    digits = prepare(DataConfig("digits"), tmp_path)
    spec = replace(
        stages_of("resnet8")[0],
        data=digits.info.fingerprint,
        recipe=Recipe(3, 32, 0.1, 5e-4, "onecycle", "none"),
    )
    rows = train_stage(spec, digits).rows
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[-1].val_accuracy > 80  # chance is 10
    assert rows[-1].train_loss < rows[0].train_loss / 2
    assert all(row.seconds > 0 for row in rows)


def test_a_student_learns_from_its_sources_alone(
    stages_of: StagesOf, tmp_path: Any, digits: PreparedData
) -> None:
    """With λ = 1, labels have no effect: the student can only learn from the teacher."""
    teacher, student = stages_of(
        "resnet14", "resnet8", epochs=10, schedule="onecycle", lr=0.1, kd_weight=1.0
    )
    taught = train_stage(teacher, digits)
    learner = train_stage(student, digits, [taught.model])
    assert taught.rows[-1].val_accuracy > 60
    assert learner.rows[-1].val_accuracy > 50


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(33, [33, 33, 33]), (32, [32, 32, 32, 4]), (99, [99]), (100, [100]), (250, [100])],
)
def test_a_last_single_image_is_left_out(
    stages_of: StagesOf,
    data: DeviceData,
    teacher: OnlineTeachers,
    batch_size: int,
    sizes: list[int],
) -> None:
    spy = Spy(teacher)
    spec = stages_of("resnet20", "resnet8", batch_size=batch_size, epochs=2)[-1]
    run(Trainer(spec, data, spy))
    assert [len(rows) for rows in spy.rows] == 2 * sizes
    epochs = [list(chain(*spy.rows[: len(sizes)])), list(chain(*spy.rows[len(sizes) :]))]
    assert all(len(set(rows)) == sum(sizes) for rows in epochs)  # no image twice
    assert epochs[0] != epochs[1]  # each epoch has its own order


def test_learner_and_sources_see_the_same_view(
    stages_of: StagesOf, data: DeviceData, trained: tuple[Trainer, Trainer]
) -> None:
    seen: dict[str, list[Tensor]] = {"source": [], "learner": []}
    source = copy.deepcopy(trained[0].model)
    source.register_forward_pre_hook(lambda _, args: seen["source"].append(args[0].clone()))
    spec = stages_of("resnet20", "resnet8", augment="crop+flip")[-1]
    learner = Trainer(spec, data, OnlineTeachers([source], CPU, Numerics()))
    learner.model.register_forward_pre_hook(
        lambda model, args: seen["learner"].append(args[0].clone()) if model.training else None
    )
    learner.train_epoch()
    assert len(seen["learner"]) == 4
    assert all(torch.equal(*pair) for pair in zip(*seen.values(), strict=True))


@pytest.mark.parametrize("lr", [1e30, 1e10])
def test_a_loss_that_is_not_finite_fails_in_one_line(
    stages_of: StagesOf, data: DeviceData, lr: float
) -> None:
    learner = Trainer(stages_of("resnet8", epochs=3, lr=lr)[0], data)
    with pytest.raises(StageFailed) as failure:
        run(learner)
    message = str(failure.value)
    assert "\n" not in message
    assert message.startswith("resnet8: ")
    assert f"in epoch {learner.epoch + 1}" in message
    assert f"lower --lr (it is {lr:g})" in message
    assert all(math.isfinite(row.train_loss) for row in learner.rows)


def test_outputs_that_are_not_finite_fail_too(stages_of: StagesOf, data: DeviceData) -> None:
    learner = Trainer(stages_of("resnet8", lr=1e-30)[0], data)
    normalization = learner.model.get_submodule("bn1")
    assert isinstance(normalization, nn.BatchNorm2d) and normalization.running_var is not None
    with torch.no_grad():  # running statistics are only used in evaluation
        normalization.running_var.fill_(math.nan)
        normalization.momentum = 0.0
    with pytest.raises(StageFailed, match="outputs are no longer finite in epoch 1"):
        learner.train_epoch()


@pytest.fixture
def two_threads(stages_of: StagesOf) -> StageSpec:
    return stages_of("resnet20", "resnet8", threads=2, batch_size=100)[-1]


def test_settings_hold_for_an_epoch_and_are_put_back(
    two_threads: StageSpec, data: DeviceData, teacher: OnlineTeachers
) -> None:
    def settings() -> tuple[Any, ...]:
        cudnn = torch.backends.cudnn
        return torch.get_num_threads(), cudnn.enabled, cudnn.benchmark, cudnn.deterministic

    before, during = settings(), set()
    spy = Spy(teacher, lambda: during.add(settings()))
    Trainer(two_threads, data, spy).train_epoch()
    assert during == {(2, True, False, True)}
    assert settings() == before
    assert before[0] == 1


def test_settings_are_put_back_after_a_failure(
    two_threads: StageSpec, data: DeviceData, teacher: OnlineTeachers
) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(two_threads, data, Spy(teacher, fail)).train_epoch()
    assert torch.get_num_threads() == 1


def test_a_learner_wants_as_many_sources_as_its_spec(stages_of: StagesOf, data: DeviceData) -> None:
    with pytest.raises(ValueError, match="2 teachers needed, got 0"):
        Trainer(stages_of(*CHAIN)[-1], data)
