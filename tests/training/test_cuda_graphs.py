from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.graphs import StandIn
from helpers.stages import StagesOf, WithoutSeconds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgkd_search.data import PreparedData
from dgkd_search.training import cuda_graphs, trainer
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.cuda_graphs import SWITCH, Function, Graphed, Tensors, graphs_apply
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.losses.base import LossSpec
from dgkd_search.training.recipe import NUMERICS
from dgkd_search.training.train_stage import train_stage
from dgkd_search.training.trainer import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CHAIN = ("resnet20", "resnet14", "resnet8")
EAGER = 3  # calls of one shape before it is captured


class Counter:
    """A function with state: adds its input to a running sum, and returns twice that sum."""

    def __init__(self) -> None:
        self.sum = torch.zeros(())
        self.calls = 0

    def __call__(self, x: Tensor, more: Tensor | None = None) -> Tensors:
        self.calls += 1
        self.sum += x.sum() + (0 if more is None else more.sum())
        return 2 * self.sum, x + 1, None


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=40))
def test_results_and_state_are_those_of_the_function(calls: list[tuple[int, bool]]) -> None:
    plain, watched = Counter(), Counter()
    stand_in = StandIn([watched.sum])
    graphed = Graphed(watched, [watched.sum], stand_in)
    shapes: dict[tuple[int, bool], int] = {}
    for i, (length, both) in enumerate(calls):
        x = torch.arange(length) + float(i)
        more = torch.ones(2) * i if both else None
        expected, got = plain(x, more), graphed(x, more)
        assert got[2] is None
        for a, b in zip(expected[:2], got[:2], strict=True):
            assert a is not None and b is not None and torch.equal(a, b)
        assert torch.equal(plain.sum, watched.sum)
        shapes[length, both] = shapes.get((length, both), 0) + 1
    assert stand_in.captures == sum(count > EAGER for count in shapes.values())
    assert stand_in.replays == sum(max(0, count - EAGER) for count in shapes.values())


def test_inputs_are_copied_into_the_graphs_own() -> None:
    graphed = Graphed(lambda x: (x * 2,), (), StandIn())
    x = torch.ones(4)
    for _ in range(EAGER + 2):
        graphed(x)
    x.fill_(7)
    (doubled,) = graphed(torch.full((4,), 3.0))
    assert doubled is not None
    assert doubled.tolist() == [6.0] * 4
    assert x.tolist() == [7.0] * 4


def _number(tensor: Tensor | None) -> float:
    assert tensor is not None
    return tensor.item()


def _fails(error: Exception) -> Callable[[Function, Tensors], Any]:
    def capture(function: Function, inputs: Tensors) -> Any:
        raise error

    return capture


def test_what_cannot_be_captured_runs_as_it_is_and_says_so_once() -> None:
    counter = Counter()
    graphed = Graphed(counter, [counter.sum], _fails(RuntimeError("operation\nnot permitted")))
    for _ in range(EAGER):
        graphed(torch.ones(2))
    with pytest.warns(
        RuntimeWarning, match="can't be captured .operation not permitted.; training"
    ):
        result, *_ = graphed(torch.ones(2))
    assert (_number(result), counter.calls) == (16, EAGER + 1)
    for _ in range(EAGER + 3):
        graphed(torch.ones(2))
        graphed(torch.ones(3))
    assert counter.sum == 2 * 10 + 3 * 6


def test_too_little_memory_for_a_graph_is_no_failure() -> None:
    graphed = Graphed(lambda x: (x * 2,), (), _fails(torch.OutOfMemoryError("too little")))
    for _ in range(EAGER + 2):
        (doubled,) = graphed(torch.ones(2))
        assert doubled is not None and doubled.tolist() == [2.0, 2.0]


def test_a_call_that_lacks_memory_beside_graphs_is_made_without_them() -> None:
    counter, short = Counter(), [False]

    def function(x: Tensor) -> Tensors:
        results = counter(x)
        if short[0]:
            short[0] = False
            raise torch.OutOfMemoryError("too little, and the sum is half done")
        return results

    stand_in = StandIn([counter.sum])
    graphed = Graphed(function, [counter.sum], stand_in)
    for _ in range(EAGER + 1):
        graphed(torch.ones(2))
    short[0] = True
    double, *_ = graphed(torch.ones(3))
    assert (_number(double), _number(counter.sum)) == (2 * 11, 11)
    graphed(torch.ones(2))
    assert (_number(counter.sum), stand_in.replays) == (13, 1)


def test_a_call_that_lacks_memory_without_graphs_fails() -> None:
    def function(x: Tensor) -> Tensors:
        raise torch.OutOfMemoryError("too little")

    with pytest.raises(torch.OutOfMemoryError):
        Graphed(function, (), StandIn())(torch.ones(2))


@pytest.mark.parametrize("what", ["result", "state"])
def test_a_graph_that_gives_other_bits_is_not_kept(what: str) -> None:
    counter = Counter()

    def capture(function: Function, inputs: Tensors) -> tuple[Callable[[], None], Tensors]:
        run, results = StandIn([counter.sum])(function, inputs)

        def other() -> None:
            run()
            place = counter.sum if what == "state" else results[1]
            assert place is not None
            place.view(torch.int32).bitwise_xor_(1)

        return other, results

    graphed = Graphed(counter, [counter.sum], capture)
    for _ in range(EAGER):
        graphed(torch.ones(2))
    with pytest.warns(RuntimeWarning, match="a replay differs"):
        double, plus_one, _ = graphed(torch.ones(2))
    assert plus_one is not None and plus_one.tolist() == [2.0, 2.0]
    assert (_number(double), _number(counter.sum)) == (16, 8)
    assert graphed(torch.ones(2))[0] == 20


def test_not_a_number_is_no_other_bit() -> None:
    stand_in = StandIn()
    graphed = Graphed(lambda x: (x / x,), (), stand_in)
    for _ in range(EAGER + 2):
        graphed(torch.zeros(2))
    assert stand_in.replays == 2


def test_released_graphs_are_not_used_again() -> None:
    stand_in = StandIn()
    graphed = Graphed(lambda x: (x * 2,), (), stand_in)
    assert not Graphed(lambda x: (x,), (), stand_in).release()
    for _ in range(EAGER + 1):
        graphed(torch.ones(2))
    assert graphed.release()
    assert not graphed.release()
    for _ in range(EAGER + 2):
        (doubled,) = graphed(torch.ones(2))
    assert doubled is not None and doubled.tolist() == [2.0, 2.0]
    assert stand_in.replays == 1


def test_only_what_is_built_in_is_captured_on_a_gpu(
    stages_of: StagesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stages_of("resnet8")[0]
    assert graphs_apply(spec, CUDA)
    assert not graphs_apply(spec, CPU)
    own = replace(spec.architecture, origin="mine")
    assert not graphs_apply(replace(spec, architecture=own), CUDA)
    taught = stages_of("resnet20", "resnet8", loss=LossSpec("dist"))[-1]
    assert graphs_apply(taught, CUDA)
    assert taught.distillation is not None
    mine = replace(taught.distillation, loss=LossSpec("mse", "mine", "c"))
    assert not graphs_apply(replace(taught, distillation=mine), CUDA)
    compiled = replace(spec.numerics, compiled=True)
    assert not graphs_apply(replace(spec, numerics=compiled), CUDA)
    monkeypatch.setenv(SWITCH, "0")
    assert not graphs_apply(spec, CUDA)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StandIn]]:
    """Replace CUDA's captures by stand-ins."""
    made: list[StandIn] = []
    init = Graphed.__init__

    def with_stand_in(self: Graphed, function: Function, state: Any = ()) -> None:
        state = list(state)
        made.append(StandIn(state))
        init(self, function, state, made[-1])

    monkeypatch.setattr(Graphed, "__init__", with_stand_in)
    for module in ("trainer", "train_stage"):
        monkeypatch.setattr(f"dgkd_search.training.{module}.graphs_apply", lambda *_: True)
    monkeypatch.setattr(trainer, "side_stream", lambda _: torch.enable_grad())
    yield made


@pytest.mark.parametrize(("outputs", "loss"), [("stored", "kl"), ("online", "dist")])
def test_a_stage_ends_with_the_same_weights(
    outputs: str,
    loss: str,
    stages_of: StagesOf,
    digits: PreparedData,
    trained: tuple[Trainer, Trainer],
    without_seconds: WithoutSeconds,
    stand_ins: list[StandIn],
) -> None:
    spec = stages_of(
        *CHAIN,
        epochs=5,
        loss=LossSpec(loss),
        drop_prob=0.4,
        augment="crop+flip",
        schedule="onecycle",
    )[-1]
    spec = replace(spec, outputs=outputs)
    models = [copy.deepcopy(learner.model) for learner in trained]
    graphed = train_stage(spec, digits, models)
    assert sum(each.replays for each in stand_ins) > 0
    assert len(stand_ins) == (3 if outputs == "online" else 1)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("trainer", "train_stage"):
            patch.setattr(f"dgkd_search.training.{module}.graphs_apply", lambda *_: False)
        plain = train_stage(spec, digits, models)
    assert graphed.weights() == plain.weights()
    assert graphed.checkpoint() == plain.checkpoint()
    assert without_seconds(graphed.rows) == without_seconds(plain.rows)


def test_a_trainer_that_is_let_go_frees_its_model_at_once(
    stages_of: StagesOf, data: DeviceData, stand_ins: list[StandIn]
) -> None:
    learner = Trainer(stages_of("resnet8", epochs=5)[0], data)
    while not learner.finished:
        learner.train_epoch()
    model = weakref.ref(learner.model)
    gc.disable()
    try:
        stand_ins.clear()
        del learner
        assert model() is None
    finally:
        gc.enable()


def test_an_evaluation_that_lacks_memory_gets_that_of_the_graphs(
    stages_of: StagesOf,
    data: DeviceData,
    stand_ins: list[StandIn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = Trainer(stages_of("resnet8", epochs=8, batch_size=8)[0], data)
    learner.train_epoch()
    assert stand_ins[0].replays > 0
    short = iter([True])

    def once_too_little(*arguments: Any) -> float:
        if next(short, False):
            raise torch.OutOfMemoryError("too little")
        return accuracy(*arguments)

    monkeypatch.setattr(trainer, "accuracy", once_too_little)
    before = stand_ins[0].replays
    row = learner.train_epoch()
    assert 0 <= row.val_accuracy <= 100
    done = stand_ins[0].replays
    assert done > before
    learner.train_epoch()
    assert stand_ins[0].replays == done  # released


@NEEDS_GPU
@pytest.mark.parametrize("outputs", ["stored", "online"])
def test_weights_on_a_gpu_are_those_of_plain_steps(
    outputs: str,
    stages_of: StagesOf,
    digits: PreparedData,
    trained: tuple[Trainer, Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = stages_of(*CHAIN, epochs=6, drop_prob=0.4, augment="crop+flip")[-1]
    spec = replace(spec, outputs=outputs, numerics=NUMERICS["cuda"])
    models = [copy.deepcopy(learner.model) for learner in trained]
    graphed = train_stage(spec, digits, models)
    monkeypatch.setenv(SWITCH, "0")
    assert train_stage(spec, digits, models).weights() == graphed.weights()


@NEEDS_GPU
def test_a_step_that_waits_for_the_device_runs_as_it_is() -> None:
    def waits(x: Tensor) -> Tensors:
        return (x * float(x.sum()),)

    graphed = Graphed(waits)
    with cuda_graphs.side_stream(torch.device("cuda", 0)):
        x = torch.ones(2, device="cuda")
        for _ in range(EAGER):
            graphed(x)
        with pytest.warns(RuntimeWarning, match="can't be captured"):
            graphed(x)
        (result,) = graphed(x)
    assert result is not None and result.tolist() == [2.0, 2.0]
