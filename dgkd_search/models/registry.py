"""Families by name, and building a network from its architecture."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from dgkd_search.errors import InputError, one_line
from dgkd_search.models import cnn, plain, resnet, resnet_imagenet, vgg, wrn
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.construction import (
    construct,
    construct_planned,
    label,
    require_tensors,
)
from dgkd_search.models.families import Family
from dgkd_search.models.layers import initialize
from dgkd_search.models.names import FAMILIES
from dgkd_search.utils.rules import field_problems

# A new built-in family needs a module that defines a ``Family``, and entries here and in ``names``.
_BUILT_IN = (
    resnet.FAMILY,
    plain.FAMILY,
    plain.FAMILY_C10,
    wrn.FAMILY,
    vgg.FAMILY,
    resnet_imagenet.FAMILY,
    cnn.FAMILY,
)
for _family in _BUILT_IN:
    FAMILIES.register(_family, "")


def register(family: Family) -> None:
    """Register a family; a module that is imported again replaces its own families.

    Raises:
        ValueError: the name is taken.
    """
    FAMILIES.register(family, family.origin)


def family_names() -> tuple[str, ...]:
    """Return the names of all registered and installed families, in alphabetical order."""
    return tuple(sorted(FAMILIES.names()))


def families_of(module: str) -> tuple[Family, ...]:
    """Return the families that a module has registered."""
    return FAMILIES.of(module)


def get_family(name: str, label: str | None = None) -> Family:
    """Return the family called ``name``.

    Raises:
        InputError: there is none, or its package cannot be loaded.
    """
    return FAMILIES.get(name, label)


def build(
    architecture: Architecture, generator: torch.Generator, *, check_start: bool = True
) -> nn.Module:
    """Build a network on the CPU, in training mode, with newly drawn weights.

    The weights depend only on the architecture and the generator's state; torch's global random
    state is neither read nor changed. The constructor of a custom network draws its own weights,
    from global generators that are seeded from ``generator`` and restored.

    Args:
        architecture: the network to build.
        generator: CPU generator, source of all randomness; it advances.
        check_start: whether the weights that the constructor of a custom network loads must be
            those of the architecture; not needed if the caller replaces or ignores all weights.

    Returns:
        Module that maps images [N, channels, image_size, image_size] to logits [N, classes].

    Raises:
        InputError: lists everything that is wrong with the architecture.
        NetworkError: a custom network can't be built, or loads other weights.
    """
    family = _check(architecture)
    if family.origin:
        make = construct_planned if check_start else construct
        seed = int(torch.randint(2**62, (), generator=generator))
        model = make(family.build, architecture, seed)
        require_tensors(model, label(architecture))
        return model.cpu()
    model = _structure(family, architecture)
    # As ``to_empty``, which would import more of torch: half a second in every worker.
    empty = {k: torch.empty(v.shape, dtype=v.dtype) for k, v in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)
    initialize(model, generator)
    return model


def validate_custom_model(architecture: Architecture, *, trained: bool = True) -> None:
    """Run a custom network on two images; do nothing for built-in families.

    Args:
        architecture: the network.
        trained: whether it will be trained, unlike a pretrained teacher.

    Raises:
        InputError: the network cannot be built, fails on the images, returns no logits, or has
            nothing to train.
    """
    family = _check(architecture)
    if not family.origin:
        return
    name = label(architecture)
    size = architecture.channels, architecture.image_size, architecture.image_size
    model = construct(family.build, architecture, 0).eval()
    require_tensors(model, name)
    model.cpu()
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, *size))
    except Exception as error:
        why = one_line(error, 200, with_class=True)
        shape = " x ".join(map(str, size))
        raise InputError(f"{name}: fails on images of {shape} ({why})") from error
    wanted = [2, architecture.classes]
    if (
        not isinstance(logits, Tensor)
        or list(logits.shape) != wanted
        or not logits.is_floating_point()
    ):
        actual = type(logits).__name__
        if isinstance(logits, Tensor):
            actual = f"{str(logits.dtype).removeprefix('torch.')} {list(logits.shape)}"
        raise InputError(
            f"{name}: returns {actual} for two images, not float {wanted}; return one logit per "
            "class"
        )
    if trained and not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            f"{name}: has no parameter that requires a gradient, so it can't be trained (it is "
            "frozen or quantized); set requires_grad"
        )


@cache
def parameter_count(architecture: Architecture) -> int:
    """Return the number of trainable parameters; built-in networks are not allocated for it.

    Raises:
        InputError: lists everything that is wrong with the architecture.
    """
    family = _check(architecture)
    model = (
        construct(family.build, architecture, 0)
        if family.origin
        else _structure(family, architecture)
    )
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _structure(family: Family, architecture: Architecture) -> nn.Module:
    with torch.device("meta"):  # the constructors must not draw from the global random state
        return family.build(architecture)


def _check(architecture: Architecture) -> Family:
    """Return the family of a valid architecture.

    Raises:
        InputError: lists everything that is wrong with the architecture.
    """
    problems: list[str] = []
    family = None
    try:
        family = get_family(architecture.family)
        family.member(architecture.name)
    except InputError as error:
        problems.extend(error.messages)
    problems += field_problems(architecture)
    if family is not None and family.code != architecture.code:
        problems.append(
            f"family {family.name!r}: its code ({family.origin or 'built in'}) differs from the "
            "code that the stage was planned with; use the same code on all machines, or start a "
            "new search"
        )
    if problems or family is None:
        raise InputError(problems)
    return family
