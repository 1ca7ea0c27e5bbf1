from __future__ import annotations

import copy
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.stages import StagesOf
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.training import determinism as numerics_module
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.determinism import (
    autocast,
    deterministic,
    disable_malloc_trim,
    maybe_compile,
    memory_format,
)
from dgkd_search.training.recipe import NUMERICS, Numerics
from dgkd_search.training.trainer import Trainer


@pytest.fixture(scope="module")
def data(digits: PreparedData) -> DeviceData:
    return DeviceData(digits, torch.device("cpu"))


def settings() -> tuple[int, bool, bool, bool]:
    """Return the settings that determine the order of summation."""
    cudnn = torch.backends.cudnn
    return torch.get_num_threads(), cudnn.enabled, cudnn.benchmark, cudnn.deterministic


@pytest.mark.parametrize(
    ("name", "form"),
    [("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)],
)
def test_memory_format(name: str, form: torch.memory_format) -> None:
    assert memory_format(Numerics(memory_format=name)) == form


@pytest.mark.parametrize("name", ["contiguous", "channels_last"])
def test_a_learner_lies_in_its_memory_format(
    stages_of: StagesOf, data: DeviceData, name: str
) -> None:
    spec = replace(stages_of("resnet8")[0], numerics=Numerics(memory_format=name))
    learner = Trainer(spec, data)
    learner.train_epoch()
    wide = [p for p in learner.model.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1]
    form = memory_format(spec.numerics)
    other = ({torch.channels_last, torch.contiguous_format} - {form}).pop()
    assert wide
    assert all(p.is_contiguous(memory_format=form) for p in wide)
    assert not any(p.is_contiguous(memory_format=other) for p in wide)


def test_a_checkpoint_is_the_same_learner_whatever_the_memory_format(
    stages_of: StagesOf, data: DeviceData
) -> None:
    """Stored tensors are contiguous; a trainer resumed from them ends with the same bits."""
    numerics = Numerics(memory_format="channels_last")
    spec = replace(stages_of("resnet8", epochs=3)[0], numerics=numerics)
    whole, later = Trainer(spec, data), Trainer(spec, data)
    whole.train_epoch()
    later.restore(whole.checkpoint(), whole.rows)
    for learner in (whole, later):
        while not learner.finished:
            learner.train_epoch()
    assert later.weights() == whole.weights()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_is_the_precision_of_a_forward_pass(precision: str, dtype: torch.dtype) -> None:
    layer, images = nn.Linear(4, 2), torch.ones(3, 4)
    with autocast(Numerics(precision=precision)):
        assert layer(images).dtype == dtype
    assert layer(images).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_a_learner_in_bf16_keeps_its_weights_in_float32(
    stages_of: StagesOf, data: DeviceData
) -> None:
    spec = replace(stages_of("resnet8")[0], numerics=Numerics(precision="bf16"))
    learner = Trainer(spec, data)
    seen: set[tuple[bool, torch.dtype]] = set()
    for module in learner.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda conv, _, out: seen.add((conv.training, out.dtype)))
    learner.train_epoch()
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}
    assert {p.dtype for p in learner.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in learner.model.parameters() if p.grad is not None} == {
        torch.float32
    }


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_deterministic_sets_threads_and_kernels_and_puts_them_back(threads: int) -> None:
    before = settings()
    assert before[0] == 1
    with deterministic(Numerics(threads=threads)):
        assert settings() == (threads, True, False, True)
        with deterministic(Numerics(threads=threads + 1)):
            assert settings() == (threads + 1, True, False, True)
        assert settings() == (threads, True, False, True)
    assert settings() == before


@pytest.mark.parametrize("benchmark", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_settings_are_put_back_after_an_exception(
    benchmark: bool, error: type[BaseException]
) -> None:
    torch.set_num_threads(3)
    with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=False):
        before = settings()
        with pytest.raises(error), deterministic(Numerics(threads=2)):
            assert settings() == (2, True, False, True)
            raise error
        assert settings() == before == (3, True, benchmark, False)


@pytest.fixture
def afresh() -> Iterator[None]:
    """Make this process look as if nothing had been set yet."""
    disable_malloc_trim.cache_clear()
    yield
    disable_malloc_trim.cache_clear()


class Library:
    """Stands for glibc; records the calls of ``mallopt``."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


@pytest.mark.usefixtures("afresh")
def test_memory_is_kept_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    for _ in range(3):
        disable_malloc_trim()
    with deterministic(Numerics()):
        pass
    # <malloc.h>: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1
    assert sorted(library.calls) == [(-3, 2**30), (-1, 2**30)]


@pytest.mark.usefixtures("afresh")
def test_deterministic_keeps_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr(numerics_module, "disable_malloc_trim", lambda: called.append(True))
    with deterministic(Numerics()):
        assert called == [True]


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize("platform", ["darwin", "win32", "a C library without mallopt"])
def test_memory_is_left_alone_elsewhere(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    opened: list[object] = []

    def open_library(name: object) -> object:
        opened.append(name)
        return object()

    here = "linux" if "library" in platform else platform
    monkeypatch.setattr(sys, "platform", here)
    monkeypatch.setattr(ctypes, "CDLL", open_library)
    disable_malloc_trim()
    assert len(opened) == (here == "linux")


@pytest.mark.usefixtures("afresh")
def test_keeping_memory_harms_nothing() -> None:
    big = torch.arange(3 * 2**20)
    for _ in range(2):
        disable_malloc_trim()
        disable_malloc_trim.cache_clear()
    more = [torch.full((2**20,), i) for i in range(8)]
    assert torch.equal(big, torch.arange(3 * 2**20))
    assert [int(x.sum()) for x in more] == [i * 2**20 for i in range(8)]


class Compiler:
    """Stands for ``torch.compile``: records its calls, and runs the model itself."""

    def __init__(self) -> None:
        self.asked: list[tuple[nn.Module, dict[str, Any]]] = []
        self.runs: list[tuple[int, bool]] = []

    def __call__(self, model: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
        self.asked.append((model, options))

        def run(images: Tensor) -> Tensor:
            self.runs.append((len(images), model.training))
            logits: Tensor = model(images)
            return logits

        return run


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    return compiler


def test_a_model_is_compiled_where_the_numerics_say_so(compiler: Compiler) -> None:
    model = nn.Linear(2, 2)
    assert maybe_compile(model, Numerics()) is model
    assert compiler.asked == []
    forward = maybe_compile(model, Numerics(compiled=True))
    assert compiler.asked == [(model, {"dynamic": False})]
    images = torch.ones(3, 2)
    assert torch.equal(forward(images), model(images))
    assert len(compiler.runs) == 1


def test_models_are_compiled_however_many_were_before(
    monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """Torch counts compilations per class, and silently stops compiling after eight."""
    compiled: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(name)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    names = ["resnet8", "resnet14"] * 2 + ["resnet8"]  # two compilations each
    if thorough:
        names += ["resnet20", "resnet26", "resnet32"]
    for name in names:
        model = build(Architecture("resnet", name, 10, 1, 8), torch.Generator())
        forward = maybe_compile(model, Numerics(compiled=True))
        for images in (4, 3, 4):  # the last mini-batch of an epoch is smaller
            forward(torch.zeros(images, 1, 8, 8))
    assert compiled == [name for name in names for _ in range(2)]


def test_a_learner_trains_compiled_and_keeps_its_names(
    stages_of: StagesOf, data: DeviceData, compiler: Compiler
) -> None:
    plain = Trainer(stages_of("resnet8")[0], data)
    assert compiler.asked == []
    learner = Trainer(replace(plain.spec, numerics=Numerics(compiled=True)), data)
    assert [asked is learner.model for asked, _ in compiler.asked] == [True]
    before = copy.deepcopy(learner.model.state_dict())
    learner.train_epoch()
    assert compiler.runs == [(32, True)] * 3 + [(4, True)], "evaluation is not compiled"
    state = learner.model.state_dict()
    assert list(state) == list(plain.model.state_dict())
    assert not any(torch.equal(state[name], before[name]) for name in state if "weight" in name)


def test_numerics_are_a_fixed_table() -> None:
    """They are part of every key: a change makes all stored stages useless."""
    assert {
        "cpu": Numerics("cpu", 1, "fp32", "channels_last", False),
        "cuda": Numerics("cuda", 1, "bf16", "channels_last", False),
    } == NUMERICS
