"""Families of networks by name, and how one network is built from its architecture."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from dgkd_search.errors import InputError, one_line
from dgkd_search.models import cnn, plain, resnet, resnet_imagenet, vgg, wrn
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.families import Family
from dgkd_search.models.layers import initialize
from dgkd_search.models.names import FAMILIES
from dgkd_search.utils.rules import field_problems

# A new built-in family is one module that ends in a ``Family``, and one word here and in ``names``.
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
    """Make a family available by name; a module that is imported again replaces its own.

    Raises:
        ValueError: the name is taken.
    """
    FAMILIES.register(family, family.origin)


def family_names() -> tuple[str, ...]:
    """Names of the families that are registered or installed, in alphabetical order."""
    return tuple(sorted(FAMILIES.names()))


def families_of(module: str) -> tuple[Family, ...]:
    """Those that a module has made known."""
    return FAMILIES.of(module)


def get_family(name: str, label: str | None = None) -> Family:
    """The family called ``name``.

    Raises:
        InputError: there is none.
    """
    return FAMILIES.get(name, label)


def build(architecture: Architecture, generator: torch.Generator) -> nn.Module:
    """A new network on the CPU, in training mode, with freshly drawn weights.

    Torch's global random state is neither read nor changed: the weights follow from the
    architecture and the generator's state alone. Networks of a user's own draw them as their
    constructors say, from a CPU generator seeded by ours.

    Args:
        architecture: which network.
        generator: CPU generator that every weight is drawn from; it advances.

    Returns:
        module mapping images [N, channels, image_size, image_size] to logits [N, classes].

    Raises:
        InputError: all that is wrong with the architecture, together.
    """
    family = _check(architecture)
    if family.origin:
        return _build_custom(
            family, architecture, int(torch.randint(2**62, (), generator=generator))
        )
    model = _structure(family, architecture)
    # What ``to_empty`` does, without what torch imports for it: half a second, in every worker.
    empty = {k: torch.empty(v.shape, dtype=v.dtype) for k, v in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)
    initialize(model, generator)
    return model


def validate_custom_model(architecture: Architecture) -> None:
    """Give a user's own network two images; those that are built in are known to work.

    Raises:
        InputError: it can't be made or take them, or gives no logits for them.
    """
    family = _check(architecture)
    if not family.origin:
        return
    label = f"model {architecture.name!r} of {family.origin}"
    size = architecture.channels, architecture.image_size, architecture.image_size
    model = _build_custom(family, architecture, 0).eval()
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, *size))
    except Exception as error:
        why = one_line(error, 200, with_class=True)
        shape = " x ".join(map(str, size))
        raise InputError(f"{label}: can't take images of {shape} ({why})") from error
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
            f"{label}: gives {actual} for two images, not float {wanted}; end it in one output for "
            "each class"
        )


@cache
def parameter_count(architecture: Architecture) -> int:
    """Number of trainable parameters, without allocating them.

    Raises:
        InputError: all that is wrong with the architecture, together.
    """
    family = _check(architecture)
    model = (
        _build_custom(family, architecture, 0)
        if family.origin
        else _structure(family, architecture)
    )
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _structure(family: Family, architecture: Architecture) -> nn.Module:
    with torch.device("meta"):  # the constructors' own draws must not touch the global state
        return family.build(architecture)


def _build_custom(family: Family, architecture: Architecture, seed: int) -> nn.Module:
    label = f"model {architecture.name!r} of {family.origin}"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model = family.build(architecture)
        except Exception as error:
            why = one_line(error, with_class=True)
            raise InputError(
                f"{label}: can't be made for {architecture.classes} classes and images of "
                f"{architecture.channels} x {architecture.image_size} x "
                f"{architecture.image_size} ({why})"
            ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{label}: is a {type(model).__name__}; return a torch.nn.Module")
    return model.train()


def _check(architecture: Architecture) -> Family:
    """The architecture's family.

    Raises:
        InputError: all that is wrong with the architecture, together.
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
            f"family {family.name!r}: its code ({family.origin or 'built in'}) isn't the one that "
            "the stage was planned with; have the same everywhere, and begin a new search"
        )
    if problems or family is None:
        raise InputError(problems)
    return family
