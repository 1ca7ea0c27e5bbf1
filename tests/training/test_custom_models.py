"""Training of custom networks: their random draws are reproducible."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.registries import isolate

from dgkd_search.distillation.trial import Trial
from dgkd_search.store.store import Store
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model
from dgkd_search.workflows.single_chain import plan

CODE = """
from functools import partial
from torch import nn
import dgkd_search

def mlp(width, classes, channels, image_size):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(width, classes),
    )

def tied(width, **shape):
    network = mlp(width, **shape)
    network.append(nn.Linear(10, 10)).append(nn.Linear(10, 10))
    network[6].weight = network[5].weight
    network.register_buffer("view", network[5].weight.detach()[:2])
    return network

dgkd_search.family(
    "dropping", small=partial(mlp, 8), tied=partial(tied, 12), large=partial(mlp, 16)
)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    isolate(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"dropping_{tmp_path.name}"
    Path(f"{name}.py").write_text(CODE)
    return name


def test_a_network_that_drops_units_is_carried_on_to_the_same_weights(module: str) -> None:
    stages, data = plan(
        ["large", "tied", "small"],
        models=module,
        train_limit=60,
        epochs=3,
        batch_size=20,
        lr=0.05,
        schedule="constant",
        store="store",
    )
    before = torch.get_rng_state()
    whole, stopped = Store("whole"), Store("stopped")
    Trial(stages, data, whole).run()
    for _ in range(7):  # each attempt ends after an epoch, and other code draws in between
        with closing(iter(Trial(stages, data, stopped))) as rows:
            next(row for row in rows if row.event == "epoch")
    assert torch.equal(torch.get_rng_state(), before)
    Trial(stages, data, stopped).run()
    for spec in stages:
        one, other = whole.get(spec.key), stopped.get(spec.key)
        assert one is not None and other is not None and one.tensors == other.tensors
    entry = whole.get(stages[1].key)
    assert entry is not None
    network: Any = load_model(stages[1], entry.tensors)
    assert network[6].weight is network[5].weight
    assert torch.equal(network.view, network[5].weight[:2]), "saved after it was trained"


def test_units_are_dropped_anew_in_every_epoch(module: str) -> None:
    (spec,), data = plan(["small"], models=module, train_limit=60, epochs=2, store="store")
    learner = Trainer(spec, DeviceData(data, torch.device("cpu")))
    drawn = []
    for epoch in range(2):
        learner.rows = learner.rows[:epoch]
        with learner._seeded_global_rng():
            drawn.append(torch.rand(4))
        learner.train_epoch()
    assert not torch.equal(*drawn)
