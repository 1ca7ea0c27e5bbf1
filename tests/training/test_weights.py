"""Models are restored from bytes, for any memory format."""

from __future__ import annotations

import torch
from helpers.stages import StagesOf

from dgkd_search.models import build
from dgkd_search.training.weights import from_bytes, load_model, to_bytes


def test_tensors_come_back_to_the_last_bit() -> None:
    last = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    tensors = {"a": last, "b": torch.arange(5)[::2], "c": torch.tensor(7), "d": torch.empty(0)}
    found = from_bytes(to_bytes(tensors))
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_same_tensors_give_the_same_bytes() -> None:
    value = torch.randn(2, 3, 4, 4, requires_grad=True)
    laid_out = value.contiguous(memory_format=torch.channels_last)
    assert to_bytes({"x": value}) == to_bytes({"x": laid_out})


def test_a_model_is_loaded_ready_to_use(stages_of: StagesOf) -> None:
    (spec,) = stages_of("resnet8")
    model = build(spec.architecture, torch.Generator().manual_seed(3))
    for _ in range(2):
        model(torch.randn(4, 1, 8, 8))  # changes the running statistics
    images = torch.randn(4, 1, 8, 8)
    loaded = load_model(spec, to_bytes(model.state_dict()))
    assert not loaded.training
    assert torch.equal(loaded(images), model.eval()(images))
