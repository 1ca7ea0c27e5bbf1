"""Tensors as safetensors bytes, and models from them."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from dgkd_search.models import build
from dgkd_search.training.spec import StageSpec


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def from_bytes(data: bytes) -> dict[str, Tensor]:
    """On the CPU, in the order of their names."""
    return safetensors.torch.load(data)


def load_model(spec: StageSpec, weights: bytes) -> nn.Module:
    """A stage's model on the CPU, in eval mode."""
    model = build(spec.architecture, torch.Generator())
    model.load_state_dict(from_bytes(weights))
    return model.eval()
