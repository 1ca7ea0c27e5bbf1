"""What a distillation loss is, and what a stage's key says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dgkd_search.utils.option_values import OptionValues, option_values
from dgkd_search.utils.records import from_exact

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LossSpec:
    """A distillation loss, fully named.

    Attributes:
        name: of a registered loss, for example ``kl``.
        origin: module that makes the loss known; empty for those that are built in.
        code: checksum of the loss's code; empty likewise.
        options: values of the options that it takes, by name.
    """

    name: str
    origin: str = ""
    code: str = ""
    options: OptionValues = ()

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; of a loss that is built in and takes no options, the name alone."""
        value = {**asdict(self), "options": dict(self.options)}
        return {name: field for name, field in value.items() if field}

    @classmethod
    def from_dict(cls, value: object) -> LossSpec:
        """What ``to_dict`` gave.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("options", {}), Mapping):
            raise ValueError(f"loss {value!r}: is no table, or its options are none")
        return from_exact(cls, {**value, "options": option_values(value.get("options", {}))})


KL = LossSpec("kl")  # the loss of the paper, and of every stage that names none


class DistillationLoss(ABC):
    """How far a learner is from its teachers: the term KL of equation 7 of arXiv 2009.08825.

    The labels' term, the weight λ, the factor τ² and ``--loss-scale`` are added by
    ``training.loss.distillation_loss``, for all losses alike.

    Built-in losses use methods of tensors alone, without importing torch: their names stand in
    ``--help``. On a GPU their steps are replayed as CUDA graphs; steps with a loss of a user's own
    are not, so that it may do in Python what it likes.

    Attributes:
        name: what ``--loss`` and tables call it.
        title: what the literature calls it.
        source: where it is published, for example ``arXiv 1503.02531``.
        uses_temperature: whether it softens logits by τ. Its divergence is then multiplied by τ²,
            so that gradients keep their size whatever τ is. Otherwise the temperature is no
            setting: it changes no key, and ``--tune temperature`` is refused.
        options: names of registered options that it takes. ``divergence`` gets the value of each
            as one more argument, by its name in underscores; they are part of a stage's key.
        origin, code: see ``LossSpec``; set by ``register_loss``.
    """

    name: str
    title: str
    source: str = ""
    uses_temperature: bool = True
    options: tuple[str, ...] = ()
    origin: str = ""
    code: str = ""

    @property
    def spec(self) -> LossSpec:
        """What stages say of it, without the values of its options."""
        return LossSpec(self.name, self.origin, self.code)

    @abstractmethod
    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        """The sum over the teachers of how far the learner is from each.

        Summed over teachers and averaged over images, so that a teacher weighs the same whoever
        else survives, and an image the same in batches of any size. A built-in loss must be
        capturable in a CUDA graph: it never reads a value on the host, as ``.item()`` and
        ``if tensor`` do.

        Args:
            student: the learner's logits, float32 [B, C], B >= 1, C >= 2, with gradient.
            teachers: logits of the surviving teachers on the same images, float32 [k, B, C],
                k >= 1, without gradient. Neither tensor may be changed in place.
            temperature: τ, above 0.

        Returns:
            A scalar with gradient towards ``student``, finite for finite logits, without the
            factor τ².
        """
