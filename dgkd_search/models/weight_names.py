"""The names of weights in other repositories and in earlier versions, by family.

The built-in networks have the names that are most widely used for them. A scheme lists other names
of the same weights, or the names of a network that looks alike and computes something else. Weights
are always matched by their names, never by their order or by their shapes alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")
# From all names of a network, in order, to other names of the same weights. A scheme of another
# function may lack weights that the network has, or name more.
_Rename = Callable[[tuple[str, ...]], dict[str, str]]


@dataclass(frozen=True)
class NameScheme:
    """Names for the weights of one network.

    Attributes:
        title: who uses these names.
        ours: our name by name in this scheme.
        differs: how the network differs from ours; empty if it is the same function.
    """

    title: str
    ours: Mapping[str, str]
    differs: str = ""


@dataclass(frozen=True)
class _Scheme:
    title: str
    rename: _Rename
    differs: str = ""


def _replace(*rules: tuple[str, str | None]) -> _Rename:
    """Return a renaming by regular expressions; a name that matches a rule of None is left out."""

    def rename(names: tuple[str, ...]) -> dict[str, str]:
        found = {}
        for name in names:
            other = name
            for pattern, replacement in rules:
                if replacement is not None:
                    other = re.sub(pattern, replacement, other)
                elif re.search(pattern, name):
                    break
            else:
                found[other] = name
        return found

    return rename


def _minus_one(prefix: str, name: str) -> tuple[tuple[str, str], ...]:
    """Return rules that turn ``name1.`` to ``name3.`` into ``prefix.0.`` to ``prefix.2.``."""
    return tuple((rf"^{name}{i + 1}\.", f"{prefix}.{i}.") for i in range(3))


def _flat_vgg(pools: int, classifier: Mapping[str, str]) -> _Rename:
    """Return a renaming of VGG's blocks to one sequence, in which ``pools`` blocks end in a pool.

    Args:
        pools: number of blocks that end in a pool, which takes a number in the sequence.
        classifier: our name of a weight of the last layer by its name in the scheme; an empty one
            for a weight that our network lacks.
    """

    def rename(names: tuple[str, ...]) -> dict[str, str]:
        found, place, block = {}, -1, 0
        last = ""
        for name in names:
            match = re.match(r"block(\d)\.(\d+)\.", name)
            if match is None:
                continue
            if match[0] != last:  # convolution, batch normalization, ReLU, ...
                convolution = int(match[2]) % 3 == 0
                place += 2 if convolution and last else 1
                if int(match[1]) > block:
                    place += block < pools
                    block = int(match[1])
                last = match[0]
            found[f"features.{place}.{name[match.end() :]}"] = name
        return {**found, **classifier}

    return rename


def _plain_of_before(names: tuple[str, ...]) -> dict[str, str]:
    classifier = names[-1].removesuffix("bias")  # the last layer, which had a name of its own
    rename = _replace(
        (r"^conv_layers\.", "features."),
        (rf"^{re.escape(classifier)}", "classifier."),
        (r"^fc_layers\.", "hidden."),
    )
    return rename(names)


_LINEAR = {"classifier.weight": "classifier.weight", "classifier.bias": "classifier.bias"}
_THREE_LINEAR = {
    f"classifier.{i}.{name}": f"classifier.{name}" if i == 6 else ""
    for i in (0, 3, 6)
    for name in ("weight", "bias")
}
_PADDED = "its shortcuts have no weights (option A)"

# The first scheme of a family lists the names of earlier versions, which checksums are made with.
_EARLIER = "earlier versions of dgkd-search"
_SCHEMES: dict[str, tuple[_Scheme, ...]] = {
    # Ours: RepDistiller, mdistiller, TAKD, DGKD, pytorch-cifar-models, torchdistill.
    "resnet": (
        _Scheme(
            _EARLIER,
            _replace(
                (r"^conv1\.", "stem.0."),
                (r"^bn1\.", "stem.1."),
                *_minus_one("stages", "layer"),
                (r"\.bn(\d)\.", r".norm\1."),
                (r"\.downsample\.", ".shortcut."),
                (r"^fc\.", "classifier."),
            ),
        ),
        _Scheme(
            "pytorch_resnet_cifar10 with option B",
            _replace((r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear.")),
        ),
        _Scheme(
            "pytorch_resnet_cifar10",
            _replace((r"\.downsample\.", None), (r"^fc\.", "linear.")),
            _PADDED,
        ),
        _Scheme("a ResNet of He et al.", _replace((r"\.downsample\.", None)), _PADDED),
        _Scheme(
            "TAKD's preact_resnet",
            _replace((r"\.downsample\.1\.", None), (r"^bn1\.", "bn.")),
            "its blocks begin with batch normalization",
        ),
    ),
    # Ours: RepDistiller, mdistiller, WideResNet-pytorch.
    "wrn": (
        _Scheme(
            _EARLIER,
            _replace(
                (r"^conv1\.", "stem."),
                (r"^bn1\.", "norm."),
                (r"\.layer\.", "."),
                *_minus_one("stages", "block"),
                (r"\.bn(\d)\.", r".norm\1."),
                (r"\.convShortcut\.", ".shortcut."),
                (r"^fc\.", "classifier."),
            ),
        ),
        _Scheme(
            "torchdistill's wide_resnet",
            _replace(
                (r"^block(\d)\.layer\.", r"layer\1."),
                (r"\.convShortcut\.", ".shortcut.0."),
            ),
            "its shortcuts take a block's input before batch normalization and ReLU",
        ),
    ),
    # Ours: RepDistiller, mdistiller.
    "vgg": (
        _Scheme(_EARLIER, _flat_vgg(3, _LINEAR)),
        _Scheme("pytorch-cifar's VGG", _flat_vgg(5, _LINEAR), "it pools after all five blocks"),
        _Scheme(
            "torchvision's and pytorch-cifar-models' VGG",
            _flat_vgg(5, _THREE_LINEAR),
            "it has three linear layers and pools after all five blocks",
        ),
    ),
    # Ours: TAKD, DGKD.
    "plain": (_Scheme(_EARLIER, _plain_of_before),),
    "plain-c10": (_Scheme(_EARLIER, _plain_of_before),),
}


def name_schemes(family: str, names: Iterable[str]) -> tuple[NameScheme, ...]:
    """Return the known schemes of a network; the first one has its own names.

    Args:
        family: name of the family; one without a table has only its own names.
        names: all names of the network's state dict, in order.
    """
    ours = tuple(names)
    known = (NameScheme("", {name: name for name in ours}),)
    return known + tuple(
        NameScheme(scheme.title, scheme.rename(ours), scheme.differs)
        for scheme in _SCHEMES.get(family, ())
    )


def to_earlier_names(family: str, tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Return a network's weights under the names that earlier versions gave to them.

    Args:
        family: name of the network's family.
        tensors: the weights by name, in the order of the network's state dict.
    """
    if family not in _SCHEMES:
        return dict(tensors)
    earlier = _SCHEMES[family][0].rename(tuple(tensors))
    return {name: tensors[ours] for name, ours in earlier.items()}


def from_earlier_names(
    family: str, tensors: Mapping[str, _T], names: Iterable[str]
) -> dict[str, _T]:
    """Return weights that an earlier version may have stored, under the names of today.

    Args:
        family: name of the network's family.
        tensors: the weights by name, of today or of earlier versions.
        names: all names of the network's state dict, in order.
    """
    if family not in _SCHEMES:
        return dict(tensors)
    ours = tuple(names)
    earlier = _SCHEMES[family][0].rename(ours)
    if tensors.keys() <= set(ours) or not tensors.keys() <= earlier.keys():
        return dict(tensors)
    return {earlier[name]: tensor for name, tensor in tensors.items()}
