"""Families, validation of architectures, and forward passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from helpers.registries import isolate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dgkd_search.errors import InputError
from dgkd_search.models import (
    Family,
    Member,
    build,
    family_names,
    get_family,
    parameter_count,
    register,
    registry,
)
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.layers import Classifier

torch.set_num_threads(1)

NETWORKS = [(f, m.name) for f in family_names() for m in get_family(f).members]
SMALL = [("plain", "plain2"), ("plain-c10", "plain8-c10"), ("resnet", "resnet8")]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


# families


def test_families_are_registered_by_name() -> None:
    assert family_names() == (
        *("cnn", "plain", "plain-c10", "resnet", "resnet-imagenet", "vgg", "wrn"),
    )
    assert [get_family(name).name for name in family_names()] == list(family_names())


def test_the_names_that_help_lists_are_those_of_the_built_in_families() -> None:
    code = (
        "import sys; from dgkd_search.models.names import FAMILIES; named = FAMILIES.names()\n"
        "assert 'torch' not in sys.modules and not FAMILIES.known(), 'names come without torch'\n"
        "from dgkd_search.models import registry\n"
        "assert tuple(family.name for family in registry._BUILT_IN) == named == FAMILIES.names()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_family_names_the_choices() -> None:
    with pytest.raises(InputError) as error:
        get_family("resnext")
    (message,) = error.value.messages
    assert message.startswith("family 'resnext': unknown; choose from resnet, plain, ")
    assert all(name in message for name in family_names())


def test_unknown_member_names_family_and_choices() -> None:
    with pytest.raises(InputError) as error:
        get_family("plain-c10").member("plain3")
    assert str(error.value) == (
        "model 'plain3': not in family 'plain-c10'; "
        "choose from plain2-c10, plain4-c10, plain6-c10, plain8-c10, plain10-c10"
    )


def test_members_are_ordered_by_depth_then_name() -> None:
    members = (Member("b", 4), Member("z", 10), Member("c", 2), Member("a", 4))
    family = Family("f", members, lambda _: nn.Identity())
    assert [m.name for m in family.members] == ["c", "a", "b", "z"]
    assert family.member("z") == Member("z", 10)


def test_a_member_cannot_stand_twice() -> None:
    with pytest.raises(ValueError, match=r"^family 'f': duplicate members: a; give each its own"):
        Family("f", (Member("a", 2), Member("b", 3), Member("a", 4)), lambda _: nn.Identity())


@pytest.mark.parametrize(
    ("family", "teacher", "student", "expected"),
    [
        ("resnet", "resnet56", "resnet8", "resnet44 resnet32 resnet26 resnet20 resnet14"),
        ("resnet", "resnet32x4", "resnet8x4", "resnet26 resnet20 resnet14"),
        ("resnet", "resnet14", "resnet8", ""),
        ("resnet", "resnet32x4", "resnet32", ""),
        ("resnet", "resnet8", "resnet56", ""),
        ("plain", "plain10", "plain6", "plain9 plain8 plain7"),
        ("plain-c10", "plain10-c10", "plain2-c10", "plain8-c10 plain6-c10 plain4-c10"),
    ],
)
def test_between_lists_the_pool_largest_first(
    family: str, teacher: str, student: str, expected: str
) -> None:
    assert get_family(family).between(teacher, student) == tuple(expected.split())


@pytest.mark.parametrize("pair", [("resnet9", "resnet8"), ("resnet56", "resnet9")])
def test_between_rejects_unknown_ends(pair: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="model 'resnet9': not in family 'resnet'"):
        get_family("resnet").between(*pair)


@pytest.mark.usefixtures("own_registry")
def test_a_new_family_takes_one_registration() -> None:
    def structure(architecture: Architecture) -> nn.Module:
        size = architecture.channels * architecture.image_size**2
        return nn.Sequential(nn.Flatten(), Classifier(size, architecture.classes))

    register(Family("linear", (Member("linear1", 1),), structure))
    assert "linear" in family_names()
    architecture = Architecture("linear", "linear1", classes=3, channels=1, image_size=8)
    assert parameter_count(architecture) == 64 * 3 + 3
    assert build(architecture, seeded(0))(torch.ones(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.usefixtures("own_registry")
def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match=r"^family 'resnet': already registered; "):
        register(Family("resnet", (Member("a", 1),), lambda _: nn.Identity()))
    assert len(get_family("resnet").members) == 10


# architectures


@pytest.mark.parametrize(
    "use", [parameter_count, lambda a: build(a, seeded(0))], ids=["parameter_count", "build"]
)
def test_all_problems_of_an_architecture_are_told_at_once(
    use: Callable[[Architecture], object],
) -> None:
    with pytest.raises(InputError) as error:
        use(Architecture("resnext", "resnet8", classes=1, channels=0, image_size=7))
    first, *others = error.value.messages
    assert first.startswith("family 'resnext': unknown; choose from resnet, plain, ")
    assert others == [
        "classes 1: must be a whole number of at least 2 and at most 1048576",
        "channels 0: must be a whole number of at least 1 and at most 1024",
        "image-size 7: must be a whole number of at least 8 and at most 16384",
    ]


def test_a_member_of_another_family_is_a_problem() -> None:
    with pytest.raises(InputError, match="model 'plain2': not in family 'resnet'"):
        parameter_count(Architecture("resnet", "plain2", classes=2, channels=1, image_size=8))


@pytest.mark.parametrize(("family", "name"), NETWORKS)
def test_count_is_that_of_the_built_network(family: str, name: str) -> None:
    architecture = Architecture(family, name, classes=7, channels=1, image_size=12)
    model = build(architecture, seeded(0))
    assert parameter_count(architecture) == sum(p.numel() for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}


def test_count_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = Architecture("resnet", "resnet8", classes=11, channels=2, image_size=13)
    first = parameter_count(architecture)

    def fail(_: Architecture) -> nn.Module:
        raise AssertionError("built again")

    monkeypatch.setattr(registry, "_structure", fail)
    assert parameter_count(architecture) == first


# forward


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    network=st.sampled_from([n for n in NETWORKS if n[1] not in ("resnet110", "resnet32x4")]),
    image_size=st.sampled_from([8, 9, 28, 32]),
    channels=st.sampled_from([1, 3]),
    classes=st.sampled_from([2, 10, 100]),
    training=st.booleans(),
    channels_last=st.booleans(),
)
def test_images_become_logits(
    network: tuple[str, str],
    image_size: int,
    channels: int,
    classes: int,
    training: bool,
    channels_last: bool,
) -> None:
    architecture = Architecture(*network, classes, channels, image_size)
    model = build(architecture, seeded(0)).train(training)
    images = torch.randn(3, channels, image_size, image_size, generator=seeded(1))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    logits = model(images)
    assert logits.shape == (3, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize(("family", "name"), SMALL)
def test_memory_format_does_not_change_logits(family: str, name: str) -> None:
    model = build(Architecture(family, name, 10, 3, 16), seeded(0)).eval()
    images = torch.randn(4, 3, 16, 16, generator=seeded(1))
    expected = model(images)
    model = model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize(("family", "name"), SMALL)
def test_autocast_yields_float32_logits(family: str, name: str) -> None:
    model = build(Architecture(family, name, 10, 3, 16), seeded(0))
    images = torch.randn(4, 3, 16, 16, generator=seeded(1))
    expected = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, expected)  # autocast has an effect
    torch.testing.assert_close(logits, expected, rtol=0.1, atol=0.1)


def test_double_precision_is_kept() -> None:
    model = build(Architecture("resnet", "resnet8", 10, 3, 8), seeded(0)).double()
    assert model(torch.zeros(2, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(("family", "name"), SMALL)
def test_every_parameter_takes_part(family: str, name: str) -> None:
    model = build(Architecture(family, name, 10, 3, 16), seeded(0))
    logits = model(torch.randn(8, 3, 16, 16, generator=seeded(1)))
    loss = nn.functional.cross_entropy(logits, torch.arange(8))
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    names = [name for name, _ in model.named_parameters()]
    assert [n for n, g in zip(names, gradients, strict=True) if g is None] == []
