"""SGD with momentum, using torch's functional implementation.

``torch.optim.SGD`` would import torch's compiler at its first step, which takes seconds in every
worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from dgkd_search.training.recipe import Recipe

_BUFFER = "momentum."  # prefix of the parameter's index


class SGD:
    """SGD whose steps equal those of ``torch.optim.SGD`` bit for bit.

    Args:
        parameters: parameters of the model.
        recipe: contains momentum and weight decay.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self._parameters = list(parameters)
        self._momenta: list[Tensor | None] = [None] * len(self._parameters)
        self._recipe = recipe

    @torch.no_grad()
    def step(self, rate: float, gradients: Sequence[Tensor | None]) -> None:
        """Update the parameters.

        Args:
            rate: learning rate.
            gradients: one per parameter, from ``gradients``; a parameter with None is not changed.
        """
        updated = [i for i, each in enumerate(gradients) if each is not None]
        momenta = [self._momenta[i] for i in updated]
        sgd(
            [self._parameters[i] for i in updated],
            [each for each in gradients if each is not None],
            momenta,  # torch replaces None by a buffer at the first step
            lr=rate,
            momentum=self._recipe.momentum,
            weight_decay=self._recipe.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for i, momentum in zip(updated, momenta, strict=True):
            self._momenta[i] = momentum

    def gradients(self, loss: Tensor) -> list[Tensor | None]:
        """Return the gradients of a loss by parameter; None if it does not depend on one."""
        self.zero_grad()
        torch.autograd.backward(loss)
        return [parameter.grad for parameter in self._parameters]

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the momentum buffers by name, for ``restore``."""
        buffers = enumerate(self._momenta)
        return {f"{_BUFFER}{i}": buffer for i, buffer in buffers if buffer is not None}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the output of ``state``; other names in ``tensors`` are ignored."""
        for i, parameter in enumerate(self._parameters):
            buffer = tensors.get(f"{_BUFFER}{i}")
            if buffer is not None:
                self._momenta[i] = torch.empty_like(parameter).copy_(buffer).detach()
