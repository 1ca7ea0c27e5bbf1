"""The training loss of densely guided distillation, and the random dropping of teachers.

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
    """Return the training loss of one mini-batch.

    ``L = m(1−λ)·CE(z, y) + λ·τ²·Σ_i b_i·D(z_i, z)`` for m teachers, where b_i is 1 for surviving
    and 0 for dropped teachers. Both terms are means over the batch. D is the divergence of
    ``distillation.loss``, in the paper KL(softmax(z_i/τ) ‖ softmax(z/τ)); the factor τ² is left out
    if it does not use τ. With the loss scale ``mean``, L is divided by m (not by the number of
    survivors), so that one learning rate suits chains of different length.

    Args:
        logits: the learner's z, float [B, C].
        labels: int64 [B], each in [0, C).
        survivors: logits z_i of the surviving teachers, float [k, B, C] with 1 <= k <= m, without
            gradient; None if m is 0.
        teachers: m, the number of teachers before dropping.
        distillation: the loss, λ, τ and the loss scale; None if and only if m is 0.

    Returns:
        A scalar; plain cross-entropy if m is 0.

    Raises:
        InputError: a custom loss is not registered, or its code has changed.
        StageFailed: a custom loss fails, or returns no scalar.
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
    """Draw the surviving teachers of each of ``steps`` mini-batches.

    Each teacher survives independently with probability s = 1 − drop_prob. If all are dropped, one
    of them, drawn uniformly, is kept. A teacher thus survives with probability s + (1−s)^m / m.

    Args:
        steps: number of mini-batches.
        teachers: m, at least 1.
        drop_prob: in [0, 1).
        generator: source of all randomness; on the CPU, to avoid waiting for a device.

    Returns:
        bool [steps, m]; every row has at least one True.
    """
    mask = torch.rand(steps, teachers, generator=generator) >= drop_prob
    keep = torch.randint(teachers, (steps,), generator=generator)
    empty = ~mask.any(dim=1)
    mask[empty, keep[empty]] = True
    return mask
