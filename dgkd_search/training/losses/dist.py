"""DIST: match the relations between a teacher's predictions instead of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.training.losses.base import DistillationLoss

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-8  # as in the authors' code; makes the correlation of a constant row 0


class DIST(DistillationLoss):
    """Σ_i (1 − r_inter) + (1 − r_intra), with weights β = γ = 1 (Huang et al., NeurIPS 2022).

    r_inter is Pearson's correlation of teacher and learner across the class probabilities of an
    image, averaged over images. r_intra is their correlation across the images' probabilities of a
    class, averaged over classes. For a batch of one image r_intra is undefined; its term is 1,
    without gradient.
    """

    name, title, source = "dist", "DIST", "arXiv 2205.10536"

    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        learned = (student / temperature).softmax(dim=1)
        taught = (teachers / temperature).softmax(dim=2)
        inter = 1 - _correlation(learned, taught, dim=-1).mean(dim=1)
        intra = 1 - _correlation(learned, taught, dim=-2).mean(dim=1)
        return (inter + intra).sum()


def _correlation(one: Tensor, others: Tensor, dim: int) -> Tensor:
    """Return Pearson's correlation of [B, C] with each of [k, B, C] along a dimension."""
    one = one - one.mean(dim=dim, keepdim=True)
    others = others - others.mean(dim=dim, keepdim=True)
    norms: Tensor = one.norm(dim=dim) * others.norm(dim=dim)
    return (one * others).sum(dim=dim) / (norms + _EPSILON)
