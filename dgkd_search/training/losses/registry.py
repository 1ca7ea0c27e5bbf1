"""The registry of distillation losses; imports no torch, because ``--help`` lists the names.

To add a loss, add a module to this folder and an instance to ``_BUILT_IN``. Other packages call
``register_loss``.
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
    """Register a loss as ``--loss NAME``; usable as a class decorator.

    Call it at the top level of a module. Pass that module to ``--models`` or, in a package, declare
    it as an entry point of the group ``dgkd_search.losses`` under the loss's name. The contents of
    the module's file and of the files of the loss's own base classes are part of the key of a
    trained model: if they change, models are trained again. Files that they import are not part of
    it.

    Raises:
        ValueError: the name or title is missing, an attribute is invalid, or the name is taken.
    """
    from dgkd_search.utils.source_code import class_checksum  # not needed for --help

    check_class("loss", loss, "title")
    if not isinstance(loss.uses_temperature, bool):
        raise ValueError(
            f"loss {loss.name!r}: uses_temperature {loss.uses_temperature!r} must be True or False"
        )
    created = loss()
    created.options = option_names(loss.options)
    created.origin = loss.__module__
    created.code = class_checksum(loss)
    _registry.register(created, created.origin)
    return loss


def get_loss(name: str, label: str | None = None) -> DistillationLoss:
    """Return the loss called ``name``.

    Raises:
        InputError: there is none, or its package cannot be loaded.
    """
    return _registry.get(name, label)


def loss_names() -> tuple[str, ...]:
    """Return the names of all built-in, registered and installed losses."""
    return _registry.names()


def loss_of(spec: LossSpec) -> DistillationLoss:
    """Return the loss that a stage was planned with.

    Raises:
        InputError: no such loss is registered, or its code has changed.
    """
    loss = get_loss(spec.name)
    if (loss.origin, loss.code) != (spec.origin, spec.code):
        raise InputError(
            f"loss {loss.name!r}: its code ({loss.origin or 'built in'}) differs from the code "
            "that the stage was planned with; use the same code on all machines, or start a new "
            "search"
        )
    return loss
