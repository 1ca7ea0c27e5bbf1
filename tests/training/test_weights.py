"""Models are restored from bytes, for any memory format."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.stages import StagesOf

from dgkd_search.data import PreparedData
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import to_earlier_names
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.trainer import Trainer
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


@pytest.mark.parametrize(
    ("family", "name", "known"),
    [
        ("resnet", "resnet8x4", "stem.0.weight"),
        ("wrn", "wrn_16_2", "stem.weight"),
        ("vgg", "vgg11", "features.8.weight"),
        ("plain", "plain7", "hidden.0.weight"),
        ("plain-c10", "plain2-c10", "features.0.weight"),
        ("cnn", "cnn3", "features.0.weight"),
    ],
)
def test_weights_of_earlier_versions_are_read_by_their_names(
    stages_of: StagesOf, family: str, name: str, known: str
) -> None:
    (spec,) = stages_of("resnet8")
    spec = replace(spec, architecture=Architecture(family, name, 10, 3, 32))
    weights = build(spec.architecture, torch.Generator().manual_seed(3)).state_dict()
    earlier = to_earlier_names(family, weights)
    assert known in earlier and len(earlier) == len(weights)
    loaded = load_model(spec, to_bytes(earlier)).state_dict()
    assert list(loaded) == list(weights)
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())


def test_a_checkpoint_of_an_earlier_version_is_continued(
    digits: PreparedData, stages_of: StagesOf
) -> None:
    (spec,) = stages_of("resnet8", epochs=2)
    data = DeviceData(digits, torch.device("cpu"))
    trainer = Trainer(spec, data)
    trainer.train_epoch()
    tensors = from_bytes(trainer.checkpoint())
    momenta = {k: v for k, v in tensors.items() if not k.startswith("model.")}
    names = to_earlier_names("resnet", trainer.model.state_dict())
    earlier = to_bytes(momenta | {f"model.{name}": value for name, value in names.items()})
    assert momenta and earlier != trainer.checkpoint()
    resumed = Trainer(spec, data)
    resumed.restore(earlier, trainer.rows)
    trainer.train_epoch()
    resumed.train_epoch()
    assert resumed.weights() == trainer.weights()
