from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.random_states import random_states
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.data.augmentation import Views
from dgkd_search.errors import StageFailed
from dgkd_search.training import batches as device_module
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.recipe import Numerics
from dgkd_search.training.teachers import CachedTeachers, OnlineTeachers, compute_outputs, freeze
from dgkd_search.training.trainer import Trainer, views_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(digits: PreparedData) -> DeviceData:
    return DeviceData(digits, CPU)


@pytest.fixture
def models(trained: tuple[Trainer, Trainer]) -> list[nn.Module]:
    return [freeze(copy.deepcopy(learner.model), CPU, Numerics()) for learner in trained]


@pytest.fixture
def model(models: list[nn.Module]) -> nn.Module:
    return models[0]


def views(data: DeviceData, augment: str = "crop+flip") -> Views:
    return views_of(data.info, augment)


def by_hand(data: DeviceData, bank: int, i: int) -> Tensor:
    """Return the view of image i in a bank, float [1, channels, size, size], by pixel loops."""
    shown, size = views(data), data.info.image_size
    known = shown.bank(bank)
    assert known is not None
    down, across = known.offsets[i].tolist()
    padded = F.pad(data.images[i], (shown.pad,) * 4)
    crop = padded[:, down : down + size, across : across + size]
    image: Tensor = data.normalize((crop.flip(2) if known.flips[i] else crop)[None])
    return image


def close(one: Tensor, other: Tensor) -> bool:
    """Compare up to twice the rounding of float16, plus that of float32 for other batches."""
    return torch.allclose(one, other, rtol=2.0**-10, atol=1e-4)


class Says(nn.Module):
    """Returns one value for every image except the last one of the first batch."""

    def __init__(self, usual: float, once: float) -> None:
        super().__init__()
        self.usual, self.once = usual, once

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.full((len(images), 10), self.usual)
        logits[-1, 3] = self.once
        return logits


@pytest.mark.parametrize("which", [[0], [1], [0, 1]])
def test_stored_and_online_sources_say_the_same_up_to_float16(
    data: DeviceData, models: list[nn.Module], which: list[int]
) -> None:
    online, stored = OnlineTeachers(models, CPU, Numerics()), CachedTeachers(2)
    assert len(online) == len(stored) == 2
    seen = []
    for bank in (0, 1):
        shown = views(data)
        stored.use(bank, [compute_outputs(m, data, shown, bank, Numerics()) for m in models])
        order = torch.randperm(data.count, generator=torch.Generator().manual_seed(bank))
        for rows, images in data.batches(torch.split(order, 32), shown, bank):
            exact = online.logits(which, images, rows, bank)
            rounded = stored.logits(which, images, rows, bank)
            assert exact.shape == rounded.shape == (len(which), len(rows), 10)
            assert exact.dtype == rounded.dtype == torch.float32
            assert close(rounded, exact)
            assert not torch.equal(rounded, exact), "stored ones are rounded"
            assert not close(rounded, exact.roll(1, 1))
        seen.append(online.logits(which, data.normalize(data.images), torch.arange(100), bank))
        seen.append(stored.logits(which, torch.empty(0), torch.arange(100), bank))
    assert not close(seen[1], seen[3]), "banks show other pictures"


@settings(max_examples=60)
@given(
    which=st.sets(st.integers(0, 2), min_size=1).map(sorted),
    rows=st.lists(st.integers(0, 39), min_size=1, max_size=50),
)
def test_rows_of_the_right_image_of_every_survivor(which: list[int], rows: list[int]) -> None:
    def said(source: int, image: int, label: int) -> int:
        return 600 * source + 10 * image + label  # float16 represents all integers below 2048

    outputs = [
        torch.tensor([[said(m, n, c) for c in range(10)] for n in range(40)]).half()
        for m in range(3)
    ]
    sources = CachedTeachers(3)
    sources.use(5, outputs)
    logits = sources.logits(which, torch.empty(0), torch.tensor(rows), 5)
    assert logits.tolist() == [[[said(m, n, c) for c in range(10)] for n in rows] for m in which]
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert not logits.is_inference()  # autograd may save it


def test_outputs_of_another_bank_are_refused() -> None:
    sources, ask = CachedTeachers(1), ([0], torch.empty(0), torch.tensor([0]))
    with pytest.raises(RuntimeError, match="bank 0 requested, but outputs of bank None are held"):
        sources.logits(*ask, 0)
    assert not sources.holds(0)
    first, second = torch.zeros(2, 3).half(), torch.ones(2, 3).half()
    sources.use(0, [first])
    assert sources.holds(0) and not sources.holds(1)
    with pytest.raises(RuntimeError, match="bank 1 requested, but outputs of bank 0 are held"):
        sources.logits(*ask, 1)
    sources.use(1, [second])
    assert sources.holds(1) and not sources.holds(0)
    assert sources.logits(*ask, 1).tolist() == [[[1.0, 1.0, 1.0]]]
    with pytest.raises(RuntimeError, match="bank 0 requested, but outputs of bank 1 are held"):
        sources.logits(*ask, 0)


@pytest.mark.parametrize("given", [0, 1, 3])
def test_as_many_outputs_as_sources(given: int) -> None:
    with pytest.raises(ValueError, match=f"2 outputs needed, got {given}"):
        CachedTeachers(2).use(0, [torch.zeros(4, 3).half()] * given)


@pytest.mark.parametrize("bank", [0, 7])
def test_outputs_are_the_models_on_the_banks_views_image_by_image(
    data: DeviceData, model: nn.Module, monkeypatch: pytest.MonkeyPatch, bank: int
) -> None:
    monkeypatch.setattr(device_module, "_MOST", 32)
    sizes: list[int] = []
    model.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    outputs = compute_outputs(model, data, views(data), bank, Numerics())
    assert sizes == [32, 32, 32, 4]
    assert outputs.shape == (100, 10)
    assert outputs.dtype == torch.float16
    with torch.no_grad():
        expected = torch.cat([model(by_hand(data, bank, i)) for i in range(100)])
    assert close(outputs.float(), expected)
    assert not close(outputs.float().roll(1, 0), expected)


def test_without_augmentation_outputs_are_those_of_the_images(
    data: DeviceData, model: nn.Module
) -> None:
    with torch.no_grad():
        expected = model(data.normalize(data.images)).half()
    for bank in (0, 1):
        outputs = compute_outputs(model, data, views(data, "none"), bank, Numerics())
        assert torch.equal(outputs, expected)


def test_outputs_are_the_same_bits_whoever_asks(data: DeviceData, models: list[nn.Module]) -> None:
    first = compute_outputs(models[0], data, views(data), 1, Numerics())
    used = views(data)
    compute_outputs(models[1], data, used, 4, Numerics())  # another teacher, another bank
    other = freeze(copy.deepcopy(models[0]).train(), CPU, Numerics())
    torch.manual_seed(3)
    torch.set_num_threads(2)
    assert torch.equal(compute_outputs(other, data, used, 1, Numerics()), first)
    assert torch.equal(compute_outputs(models[0], data, used, 1, Numerics()), first)
    assert not torch.equal(compute_outputs(models[0], data, used, 2, Numerics()), first)


def test_outputs_have_the_precision_and_threads_of_the_numerics(
    data: DeviceData, model: nn.Module
) -> None:
    plain = compute_outputs(model, data, views(data), 0, Numerics())
    seen: list[tuple[bool, int]] = []
    model.register_forward_hook(
        lambda *_: seen.append((torch.is_autocast_enabled("cpu"), torch.get_num_threads()))
    )
    rough = compute_outputs(model, data, views(data), 0, Numerics(precision="bf16", threads=2))
    assert seen == [(True, 2)]
    assert torch.get_num_threads() == 1
    assert rough.dtype == torch.float16
    assert not torch.equal(rough, plain)
    # bfloat16 has 8 bits: a few hundredths over all the layers
    assert (rough - plain).abs().max() < 0.1 * plain.abs().max()


class Color:
    """Color data with only the methods that computing outputs needs."""

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in batches:
            yield rows, torch.ones(len(rows), 3, 8, 8)

    def in_order(self) -> Sequence[Tensor]:
        return [torch.arange(3), torch.arange(3, 5)]


@pytest.mark.parametrize("form", ["contiguous", "channels_last"])
def test_a_model_gets_images_in_its_memory_format(data: DeviceData, form: str) -> None:
    model = Says(1.0, 1.0)
    last: list[bool] = []
    model.register_forward_pre_hook(
        lambda _, args: last.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    numerics = Numerics(memory_format=form)
    assert compute_outputs(model, Color(), views(data), 0, numerics).shape == (5, 10)  # type: ignore[arg-type]
    assert last == [form == "channels_last"] * 2


def test_computing_leaves_the_model_and_random_states_alone(
    data: DeviceData, model: nn.Module
) -> None:
    before = copy.deepcopy(model.state_dict())
    states = random_states()
    compute_outputs(model, data, views(data), 3, Numerics())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert random_states() == states
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("once", [float("nan"), float("inf"), -float("inf"), 65520.0, -1e5])
def test_outputs_that_float16_cannot_hold_fail_in_one_line(data: DeviceData, once: float) -> None:
    with pytest.raises(StageFailed, match=r"not finite, .*--outputs online") as failure:
        compute_outputs(Says(1.0, once), data, views(data), 0, Numerics())
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("once", [65504.0, -65504.0, 0.0])
def test_outputs_that_float16_holds_are_given(data: DeviceData, once: float) -> None:
    outputs = compute_outputs(Says(1.0, once), data, views(data), 0, Numerics())
    assert outputs[-1, 3] == once
    assert outputs.float().sum() == 999 + once


def test_online_sources_run_the_survivors_alone(data: DeviceData, models: list[nn.Module]) -> None:
    runs: list[int] = []

    def count(source: int) -> Callable[..., None]:
        return lambda *_: runs.append(source)

    for i, some in enumerate(models):
        some.register_forward_hook(count(i))
    sources = OnlineTeachers(models, CPU, Numerics())
    images, rows = data.normalize(data.images[:4]), torch.arange(4)
    asked: list[list[int]] = [[1], [0], [0, 1], [1]]
    logits = [sources.logits(which, images, rows, 0) for which in asked]
    assert runs == [1, 0, 0, 1, 1]
    assert torch.equal(logits[2], torch.cat([logits[1], logits[0]]))


def test_online_sources_are_frozen(models: list[nn.Module], data: DeviceData) -> None:
    loose: Any = copy.deepcopy(models[0]).train().requires_grad_(True)
    sources = OnlineTeachers([loose], CPU, Numerics(memory_format="channels_last"))
    images = data.normalize(data.images[:4])
    logits = sources.logits([0], images, torch.arange(4), 0)
    with torch.no_grad():
        assert torch.allclose(logits[0], models[0](images), atol=1e-4)
    assert not logits.requires_grad and not logits.is_inference()
    assert not any(p.requires_grad for p in loose.parameters())
    wide = [p for p in loose.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert wide and all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)
