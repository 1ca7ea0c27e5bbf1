"""Custom distillation losses."""

from __future__ import annotations

import torch
from torch import Tensor

from dgkd_search.training.losses.base import DistillationLoss


class LogitMSE(DistillationLoss):
    """Σ_i ‖z_i − z‖², averaged over images (Kim et al., 2021); uses no temperature."""

    name, title, source = "mse", "logit MSE", "arXiv 2105.08919"
    uses_temperature = False

    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        return (teachers - student).square().sum() / len(student)


class Noisy(LogitMSE):
    """Draws from torch's global generator, and counts its calls."""

    name, calls = "noisy", 0

    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        type(self).calls += 1
        return super().divergence(student + torch.randn_like(student), teachers, temperature)
