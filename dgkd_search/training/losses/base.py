"""The interface of distillation losses, and their description in a stage's key."""

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
    """The complete description of a distillation loss.

    Attributes:
        name: name of a registered loss, for example ``kl``.
        origin: module that registers the loss; empty for built-in losses.
        code: checksum of the loss's code; empty for built-in losses.
        options: values of the options that the loss takes, by name.
    """

    name: str
    origin: str = ""
    code: str = ""
    options: OptionValues = ()

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types without empty fields."""
        value = {**asdict(self), "options": dict(self.options)}
        return {name: field for name, field in value.items() if field}

    @classmethod
    def from_dict(cls, value: object) -> LossSpec:
        """Build from the output of ``to_dict``.

        Raises:
            ValueError: ``value`` is not an output of ``to_dict``.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("options", {}), Mapping):
            raise ValueError(f"loss {value!r}: must be a mapping, and so must its options")
        return from_exact(cls, {**value, "options": option_values(value.get("options", {}))})


KL = LossSpec("kl")  # the paper's loss, and the default


class DistillationLoss(ABC):
    """Base class of the divergence between a learner and its teachers.

    It replaces the KL term of equation 7 of arXiv 2009.08825. For every loss,
    ``training.loss.distillation_loss`` adds the label term, the weight λ, the factor τ² and
    ``--loss-scale``.

    Built-in losses use only tensor methods and import no torch, because ``--help`` lists their
    names. On a GPU, their steps are replayed as CUDA graphs; steps with a custom loss are not, so
    its Python code may do anything.

    Attributes:
        name: the name for ``--loss`` and tables.
        title: the name in the literature.
        source: the publication, for example ``arXiv 1503.02531``.
        uses_temperature: whether it softens logits by τ. If so, its divergence is multiplied by τ²,
            which keeps the size of gradients independent of τ. If not, the temperature is not a
            setting: it is not part of keys, and ``--tune temperature`` is refused.
        options: names of the registered options that it takes. Their values are passed to
            ``divergence`` as keyword arguments (with underscores) and are part of a stage's key.
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
        """The description of this loss, without the values of its options."""
        return LossSpec(self.name, self.origin, self.code)

    @abstractmethod
    def divergence(self, student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
        """Return the divergence of the learner from its teachers.

        It is the sum over teachers of the mean over images, so that the weight of a teacher does
        not depend on which others survive, nor the weight of an image on the batch size. A built-in
        loss must be capturable in a CUDA graph: it must not read values on the host, as ``.item()``
        and ``if tensor`` do.

        Args:
            student: the learner's logits, float32 [B, C], B >= 1, C >= 2, with gradient.
            teachers: logits of the surviving teachers on the same images, float32 [k, B, C],
                k >= 1, without gradient. Neither tensor may be changed in place.
            temperature: τ, above 0.

        Returns:
            A scalar without the factor τ², differentiable with respect to ``student`` and finite
            for finite logits.
        """
