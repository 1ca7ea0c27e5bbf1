"""Layers that the families share, and the initialization of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Linear):
    """The last linear layer; logits [N, classes] are float32 or wider, even under autocast.

    Distillation compares logits of different networks, and half precision would round them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map features [N, in_features] to logits [N, out_features]."""
        if input.dtype in (torch.float16, torch.bfloat16):
            input = input.float()
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(input, self.weight, self.bias)


def conv3x3(inputs: int, outputs: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """3×3 convolution with padding 1: [N, inputs, H, W] to [N, outputs, ⌈H/stride⌉, ⌈W/stride⌉]."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=bias)


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter and buffer of ``model`` in place, drawing only from ``generator``.

    Convolutions: Kaiming-normal, fan-out, gain of ReLU (He et al., arXiv 1502.01852), bias 0.
    Batch normalization: weight 1, bias 0, running mean 0 and variance 1. Linear layers: uniform
    within ±1/√fan_in for weight and bias, as torch draws them.

    Args:
        model: module on the generator's device; its old values are ignored.
        generator: source of all randomness; it advances.

    Raises:
        TypeError: a module has parameters or buffers without an initialization rule.
    """
    for name, module in model.named_modules():
        _check_known(name, module)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # constants only, nothing is drawn
        elif isinstance(module, nn.Linear):
            # a = √5 makes the bound of Kaiming-uniform 1/√fan_in
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)


_KNOWN_TENSORS: dict[type[nn.Module], frozenset[str]] = {
    nn.Conv2d: frozenset({"weight", "bias"}),
    nn.Linear: frozenset({"weight", "bias"}),
    nn.BatchNorm2d: frozenset(
        {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    ),
}


def _check_known(name: str, module: nn.Module) -> None:
    # a tensor without a rule would silently keep uninitialized memory
    own = {key for key, _ in module.named_parameters(recurse=False)}
    own |= {key for key, _ in module.named_buffers(recurse=False)}
    for kind, known in _KNOWN_TENSORS.items():
        if isinstance(module, kind):
            own -= known
    if own:
        raise TypeError(
            f"module {name or 'model'!r} ({type(module).__name__}): no rule initializes "
            f"{', '.join(sorted(own))}; add one to dgkd_search/models/layers.py"
        )


class Normalize(nn.Module):
    """Normalize pixels in 0..255 to mean 0 and standard deviation 1 per channel.

    Args:
        mean, std: mean and standard deviation per channel, of pixels in [0, 1].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        center = torch.tensor(mean).view(1, -1, 1, 1)
        spread = torch.tensor(std).view(1, -1, 1, 1)
        self.register_buffer("scale", 1 / (255 * spread), persistent=False)
        self.register_buffer("shift", -center / spread, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 or float images [B, C, H, W] to float [B, C, H, W]."""
        normalized: Tensor = images.float() * self.scale + self.shift
        return normalized
