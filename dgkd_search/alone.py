"""One stage by itself, from start to end in this process: no store, no trial."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.identity import StageSpec
from dgkd_search.sources import OnlineSources, StoredSources, compute_outputs, frozen
from dgkd_search.stage import Learner, enough_memory, views_of
from dgkd_search.stream import open_data


def train_stage(spec: StageSpec, data: PreparedData, sources: Sequence[nn.Module] = ()) -> Learner:
    """Train one model from start to end in this process.

    Args:
        sources: trained models in the order of ``spec.sources``; they are frozen.

    Returns:
        The finished learner: ``learner.model``, ``learner.rows``.
    """
    device = torch.device(spec.numerics.device_type)
    numerics, stored = spec.numerics, StoredSources(len(sources))
    with enough_memory(spec):
        at_hand = open_data(data, device, numerics.threads)
        models = [frozen(source, device, numerics) for source in sources]
        online = spec.outputs == "online"
        taught_by = (
            (OnlineSources(models, device, numerics) if online else stored) if models else None
        )
        learner = Learner(spec, at_hand, taught_by)
    views = views_of(data.info, spec.recipe.augment)
    outputs: dict[int, list[Tensor]] = {}
    while not learner.finished:
        bank = learner.bank
        if models and not online:
            with enough_memory(spec):
                stored.drop()
                if bank not in outputs:
                    outputs[bank] = [
                        compute_outputs(model, at_hand, views, bank, numerics) for model in models
                    ]
                stored.use(bank, [output.to(device) for output in outputs[bank]])
        learner.train_epoch()
    return learner
