"""Training one stage in this process, without a store or a trial."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.training.cuda_graphs import graphs_apply
from dgkd_search.training.memory import reraise_oom
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.streaming import open_data
from dgkd_search.training.teachers import (
    CachedTeachers,
    OnlineTeachers,
    Teachers,
    compute_outputs,
    freeze,
)
from dgkd_search.training.trainer import Trainer, views_of


def train_stage(
    spec: StageSpec,
    data: PreparedData,
    teachers: Sequence[nn.Module] = (),
    *,
    sources: Sequence[nn.Module] | None = None,
) -> Trainer:
    """Train one model from start to end in this process; nothing is stored.

    Args:
        spec: the stage.
        data: the prepared data.
        teachers: trained models in the order of ``spec.teachers``; they are frozen.
        sources: the former name of ``teachers``.

    Returns:
        The finished trainer; see ``trainer.model`` and ``trainer.rows``.

    Raises:
        StageFailed: the loss or a teacher's outputs are not finite, or memory is short.
    """
    teachers = teachers if sources is None else sources
    device = torch.device(spec.numerics.device_type)
    numerics, stored = spec.numerics, CachedTeachers(len(teachers))
    with reraise_oom(spec):
        training_data = open_data(data, device, numerics.threads)
        models = [freeze(teacher, device, numerics) for teacher in teachers]
        online = spec.outputs == "online"
        provider: Teachers | None = stored if models else None
        if models and online:
            provider = OnlineTeachers(models, device, numerics, graphs_apply(spec, device))
        trainer = Trainer(spec, training_data, provider)
    views = views_of(data.info, spec.recipe.augment)
    outputs: dict[int, list[Tensor]] = {}
    while not trainer.finished:
        bank = trainer.bank
        if models and not online:
            with reraise_oom(spec):
                stored.drop()
                if bank not in outputs:
                    outputs[bank] = [
                        compute_outputs(model, training_data, views, bank, numerics)
                        for model in models
                    ]
                stored.use(bank, [output.to(device) for output in outputs[bank]])
        trainer.train_epoch()
    return trainer
