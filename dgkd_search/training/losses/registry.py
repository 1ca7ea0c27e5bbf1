"""Distillation losses by name; nothing here imports torch, for ``--help`` lists the names.

Another one is a module beside this one and a word in ``_BUILT_IN`` or, in a package of one's own, a
class that ``register_loss`` makes known.
"""

from __future__ import annotations

from dgkd_search.errors import InputError
from dgkd_search.training.losses.base import DistillationLoss, LossSpec
from dgkd_search.training.losses.dist import DIST
from dgkd_search.training.losses.kl import KLDivergence
from dgkd_search.utils.option_values import option_names
from dgkd_search.utils.registry import Registry, check_class

_BUILT_IN = (KLDivergence(), DIST())
_registry = Registry[DistillationLoss]("loss", "dgkd_search.losses", _BUILT_IN)


def register_loss(loss: type[DistillationLoss]) -> type[DistillationLoss]:
    """Make a loss known to searches, as ``--loss NAME``; also a decorator of its class.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.losses`` under the loss's name. The files of the module
    and of the classes that the loss inherits from are part of what identifies a trained model:
    change them, and models are trained anew. What they import isn't looked at.

    Raises:
        ValueError: the class lacks a name or a title, one of its attributes is none, or the name is
            taken.
    """
    from dgkd_search.utils.source_code import class_checksum  # --help does without

    check_class("loss", loss, "title")
    if not isinstance(loss.uses_temperature, bool):
        raise ValueError(
            f"loss {loss.name!r}: uses_temperature {loss.uses_temperature!r} is neither True nor "
            "False"
        )
    created = loss()
    created.options = option_names(loss.options)
    created.origin = loss.__module__
    created.code = class_checksum(loss)
    _registry.register(created, created.origin)
    return loss


def get_loss(name: str, label: str | None = None) -> DistillationLoss:
    """The loss of that name.

    Raises:
        InputError: there is none.
    """
    return _registry.get(name, label)


def loss_names() -> tuple[str, ...]:
    """Names of the losses that are built in, registered or installed."""
    return _registry.names()


def loss_of(spec: LossSpec) -> DistillationLoss:
    """The loss that a stage was planned with.

    Raises:
        InputError: there is none of that name, or its code is other.
    """
    loss = get_loss(spec.name)
    if (loss.origin, loss.code) != (spec.origin, spec.code):
        raise InputError(
            f"loss {loss.name!r}: its code ({loss.origin or 'built in'}) isn't the one that the "
            "stage was planned with; have the same everywhere, or begin a new search"
        )
    return loss
