"""The Kullback-Leibler divergence, as in the DGKD paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.training.losses.base import KL, DistillationLoss

if TYPE_CHECKING:
    from torch import Tensor


class KLDivergence(DistillationLoss):
    """Σ_i KL(softmax(z_i/τ) ‖ softmax(z/τ)), the mean over images (Hinton et al., 2015)."""

    name, title, source = KL.name, "KL divergence", "arXiv 1503.02531"

    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        log_student = (student / temperature).log_softmax(dim=1)
        log_teachers = (teachers / temperature).log_softmax(dim=2)
        # as reduction="batchmean": the sum over everything, divided by the number of images
        return (log_teachers.exp() * (log_teachers - log_student)).sum() / len(student)
