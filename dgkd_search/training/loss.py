"""The training loss of densely guided distillation, and the random dropping of its teachers.

Source: Son et al., "Densely Guided Knowledge Distillation using Multiple Teacher Assistants",
ICCV 2021, arXiv 2009.08825, equation 7 and section 3.3 (stochastic teaching).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dgkd_search.training.losses.custom import checked_divergence
from dgkd_search.training.losses.registry import loss_of
from dgkd_search.training.recipe import Distillation


def distillation_loss(
    logits: Tensor,
    labels: Tensor,
    survivors: Tensor | None,
    teachers: int,
    distillation: Distillation | None,
) -> Tensor:
    """The training loss of one mini-batch.

    ``L = m(1−λ)·CE(z, y) + λ·τ²·Σ_i b_i·D(z_i, z)`` for m teachers, of which those with b_i = 1
    survive; both terms are means over the batch. D is the divergence of ``distillation.loss``: in
    the paper KL(softmax(z_i/τ) ‖ softmax(z/τ)). τ² falls out where a loss doesn't use τ. ``mean``
    divides L by m (not by the number of survivors), so that chains of different length suit one
    learning rate.

    Args:
        logits: the learner's z, float [B, C].
        labels: int64 [B], each in [0, C).
        survivors: logits z_i of the surviving teachers, float [k, B, C] with 1 <= k <= m, no
            gradient; None where m is 0.
        teachers: m, the number of teachers before dropping.
        distillation: the loss, λ, τ and the loss scale; None exactly where m is 0.

    Returns:
        A scalar; plain cross-entropy where m is 0.

    Raises:
        InputError: a loss of a user's own isn't known, or has other code.
        StageFailed: it fails, or gives no scalar.
    """
    label_loss = F.cross_entropy(logits.float(), labels)
    if distillation is None or survivors is None or teachers == 0:
        return label_loss
    tau, weight = distillation.temperature, distillation.kd_weight
    kind, options = loss_of(distillation.loss), distillation.loss.options
    divergence = checked_divergence(kind, logits.float(), survivors.float(), tau, options)
    scale = weight * tau**2 if kind.uses_temperature else weight
    loss = teachers * (1 - weight) * label_loss + scale * divergence
    return loss / teachers if distillation.loss_scale == "mean" else loss


def sample_teacher_mask(
    steps: int, teachers: int, drop_prob: float, generator: torch.Generator
) -> Tensor:
    """Which teachers teach in each of ``steps`` mini-batches.

    Each teacher survives with probability s = 1 − drop_prob, independently; where all are dropped,
    one, drawn uniformly, is kept. The effective survival of a teacher is s + (1−s)^m / m.

    Args:
        teachers: m, at least 1.
        drop_prob: in [0, 1).
        generator: the only source of randomness; on the CPU, so that nothing waits for a device.

    Returns:
        bool [steps, m]; every row has at least one True.
    """
    mask = torch.rand(steps, teachers, generator=generator) >= drop_prob
    keep = torch.randint(teachers, (steps,), generator=generator)
    empty = ~mask.any(dim=1)
    mask[empty, keep[empty]] = True
    return mask
