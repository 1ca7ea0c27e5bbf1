from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dgkd_search.training.optimizer import SGD
from dgkd_search.training.recipe import Recipe

RECIPE = Recipe(1, 4, 0.1, 1e-3, "constant", "none")
RATES = [0.1, 0.1, 0.03, 0.0, 0.2]


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(3, 3))


def loss_of(model: nn.Sequential, step: int, whole: bool = True) -> Tensor:
    """Return a loss with a gradient; ``whole``: in every layer."""
    batch = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
    layers = model if whole else model[:3]
    loss: Tensor = layers(batch).square().sum()
    return loss


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_every_step_is_that_of_torchs_class(momentum: float, decay: float) -> None:
    ours, theirs = network(), network()
    recipe = replace(RECIPE, momentum=momentum, weight_decay=decay)
    optimizer = SGD(ours.parameters(), recipe)
    reference = torch.optim.SGD(theirs.parameters(), 1.0, momentum, weight_decay=decay)
    for step, rate in enumerate(RATES):
        reference.zero_grad()
        whole = step not in (0, 3)  # the last layer has no gradient at first and later once more
        optimizer.step(rate, optimizer.gradients(loss_of(ours, step, whole)))
        torch.autograd.backward(loss_of(theirs, step, whole))
        reference.param_groups[0]["lr"] = rate
        reference.step()
        assert same(ours, theirs)


def test_what_it_remembers_goes_on_elsewhere() -> None:
    model = network()
    optimizer = SGD(model.parameters(), RECIPE)
    for step in (0, 1):
        optimizer.step(0.1, optimizer.gradients(loss_of(model, step, whole=False)))
    other = network()
    other.load_state_dict(model.state_dict())
    state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    successor = SGD(other.parameters(), RECIPE)
    successor.restore(state | {"model.0.weight": torch.zeros(1)})
    for each, its in ((model, optimizer), (other, successor)):
        its.step(0.1, its.gradients(loss_of(each, 2)))
    assert same(model, other)
    assert len(state) == 4  # a layer without gradients has no buffers


def test_training_does_without_torchs_compiler() -> None:
    # Importing it would take seconds in a worker.
    code = """
import sys
from tempfile import TemporaryDirectory
from dgkd_search import plan, run_trial
options = dict(dataset="digits", train_limit=100, epochs=1, student_epochs=1)
with TemporaryDirectory() as store:
    run_trial(*plan(["resnet14", "resnet8"], store=store, **options), store=store)
print("torch._dynamo" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False"]
