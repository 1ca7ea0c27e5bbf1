"""Every family with every guidance is trained."""

from __future__ import annotations

import pytest
import torch

from dgkd_search.distillation.guidances.registry import guidance_names
from dgkd_search.models.layers import Normalize
from dgkd_search.store.store import Store
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.weights import load_model
from dgkd_search.workflows.single_chain import plan, run_trial

# The smallest members of each family; three if they are small enough to train in seconds.
CHAINS = {
    "resnet": ("resnet20", "resnet14", "resnet8"),
    "plain": ("plain4", "plain3", "plain2"),
    "plain-c10": ("plain6-c10", "plain4-c10", "plain2-c10"),
    "wrn": ("wrn_10_2", "wrn_16_1", "wrn_10_1"),
    "vgg": ("vgg11", "vgg8"),
    "resnet-imagenet": ("resnet34", "resnet18"),
}


@pytest.mark.parametrize("guidance", guidance_names())
@pytest.mark.parametrize("family", CHAINS)
def test_a_chain_is_trained(
    tmp_path_factory: pytest.TempPathFactory, family: str, guidance: str, thorough: bool
) -> None:
    if not (thorough or family == "resnet" or guidance == "dense"):
        pytest.skip("guidance is the same in every family; pytest --thorough")
    store = tmp_path_factory.getbasetemp() / f"store-{family}"  # guidances share stages
    lr = 0.002 if family == "resnet-imagenet" else 0.02  # it diverges more easily on eight pixels
    stages, data = plan(
        CHAINS[family],
        guidance=guidance,
        drop_prob=0.25,
        family=family,
        train_limit=40,
        epochs=2,
        batch_size=8,
        lr=lr,
        schedule="constant",
        store=str(store),
    )
    result = run_trial(stages, data, store)
    student = result.stages[-1]
    assert student.name == CHAINS[family][-1] and student.finished
    dense = len(CHAINS[family]) - 1
    known = {"dense": dense, "sequential": 1, "teacher": 1, "none": 0}
    assert len(stages[-1].teachers) == known[guidance]
    entry = Store(store).get(student.key)
    assert entry is not None
    first, *_, last = StageRecord.from_json(stages[-1], entry.meta).rows
    assert last.train_loss < first.train_loss
    model = load_model(stages[-1], entry.tensors).eval()
    normalize = Normalize(data.info.mean, data.info.std)
    validation = data.validation()
    with torch.inference_mode():
        guesses = model(normalize(torch.from_numpy(validation.images.copy()))).argmax(1)
    right = (guesses.numpy() == validation.labels).mean()
    assert 100 * right == pytest.approx(student.val_accuracy, abs=100 / len(validation.labels))
