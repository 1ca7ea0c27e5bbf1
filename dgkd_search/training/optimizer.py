"""SGD with momentum, on torch's own function for it.

``torch.optim.SGD`` would import torch's compiler at its first step: seconds, in every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from dgkd_search.training.recipe import Recipe

_BUFFER = "momentum."  # and the parameter's position


class SGD:
    """The steps of ``torch.optim.SGD``, bit for bit.

    Args:
        parameters: of the model.
        recipe: gives momentum and weight decay.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self._parameters = list(parameters)
        self._momenta: list[Tensor | None] = [None] * len(self._parameters)
        self._recipe = recipe

    @torch.no_grad()
    def step(self, rate: float, gradients: Sequence[Tensor | None]) -> None:
        """Go down the gradients with this learning rate.

        Args:
            gradients: one a parameter, as ``gradients`` gave them; a parameter without one stays
                as it is.
        """
        taught = [i for i, each in enumerate(gradients) if each is not None]
        momenta = [self._momenta[i] for i in taught]
        sgd(
            [self._parameters[i] for i in taught],
            [each for each in gradients if each is not None],
            momenta,  # torch puts each buffer here at its first step
            lr=rate,
            momentum=self._recipe.momentum,
            weight_decay=self._recipe.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for i, momentum in zip(taught, momenta, strict=True):
            self._momenta[i] = momentum

    def gradients(self, loss: Tensor) -> list[Tensor | None]:
        """The gradients of a loss, one a parameter; None where it doesn't depend on one."""
        self.zero_grad()
        torch.autograd.backward(loss)
        return [parameter.grad for parameter in self._parameters]

    def zero_grad(self) -> None:
        """Before the next mini-batch."""
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by names of its own; for ``restore``."""
        buffers = enumerate(self._momenta)
        return {f"{_BUFFER}{i}": buffer for i, buffer in buffers if buffer is not None}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what ``state`` gave; other names in ``tensors`` are passed over."""
        for i, parameter in enumerate(self._parameters):
            buffer = tensors.get(f"{_BUFFER}{i}")
            if buffer is not None:
                self._momenta[i] = torch.empty_like(parameter).copy_(buffer).detach()
