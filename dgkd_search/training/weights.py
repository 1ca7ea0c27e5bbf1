"""Conversion between tensors, models and safetensors bytes."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import from_earlier_names
from dgkd_search.training.spec import StageSpec


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as safetensors; those that share memory (tied weights) are written twice."""
    written: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        storage = dense.untyped_storage().data_ptr()
        written[name] = dense.clone() if storage in storages else dense
        storages.add(storage)
    return safetensors.torch.save(written)


def from_bytes(data: bytes) -> dict[str, Tensor]:
    """Return tensors on the CPU, ordered by name."""
    return safetensors.torch.load(data)


def load_model(spec: StageSpec, weights: bytes) -> nn.Module:
    """Return a stage's model with these weights, on the CPU and in eval mode.

    Raises:
        NetworkError: a custom network can't be built, or its constructor loads other weights than
            those that the stage records.
    """
    # Early versions recorded no start weights; all that a state dict holds are replaced anyway.
    check = bool(spec.architecture.start)
    model = build(spec.architecture, torch.Generator(), check_start=check)
    load_weights(model, spec.architecture, from_bytes(weights))
    return model.eval()


def load_weights(
    model: nn.Module, architecture: Architecture, tensors: Mapping[str, Tensor]
) -> None:
    """Load weights into a network; they may have the names of earlier versions."""
    names = model.state_dict().keys()
    model.load_state_dict(from_earlier_names(architecture.family, tensors, names))
