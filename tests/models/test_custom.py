"""Custom families: loading, building, checksums, and one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from helpers.registries import isolate
from helpers.resolving import resolved
from torch import nn

from dgkd_search.errors import InputError
from dgkd_search.models import (
    build,
    get_family,
    load_families,
    parameter_count,
    registry,
    validate_custom_model,
)
from dgkd_search.models.architecture import Architecture

CODE = """
from torch import nn
import dgkd_search

def mlp(width):
    def make(classes, channels, image_size):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(channels * image_size**2, width), nn.ReLU(),
            nn.LayerNorm(width), nn.Linear(width, classes),
        )
    return make

MINE = dgkd_search.family("mine", small=mlp(4), middle=mlp(8), large=mlp(16))
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module with a new name into the current folder; restore the registry afterwards."""
    monkeypatch.chdir(tmp_path)
    isolate(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)

    def make(code: str = CODE, name: str = f"mymodels_{tmp_path.name}") -> str:
        Path(f"{name}.py").write_text(code)
        sys.modules.pop(name, None)
        return name

    yield make
    for name in set(sys.modules) - known:
        del sys.modules[name]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def architecture(module: str, name: str = "large") -> Architecture:
    (found,) = load_families(module)
    return found.architectures(10, 1, 8)(name)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def test_a_module_gives_its_family_from_small_to_large(write: Write) -> None:
    module = write()
    (found,) = load_families(module)
    assert get_family("mine") is found and found.origin == module
    assert [member.name for member in found.members] == ["small", "middle", "large"]
    assert found.between("large", "small") == ("middle",)
    assert parameter_count(architecture(module)) == 65 * 16 + 2 * 16 + 17 * 10


def test_a_family_says_its_ends_and_its_recipe(write: Write) -> None:
    said = 'ends=("large", "middle"), tiny_ends=("middle", "small"), design="plain"'
    load_families(write(CODE.replace("small=", f"{said}, small=")))
    config = resolved(family="mine", dataset="cifar10").config
    assert (config.space.teacher, config.space.student) == ("large", "middle")
    assert config.recipe.lr == resolved(family="plain", dataset="cifar10").config.recipe.lr == 0.01
    space = resolved(family="mine", dataset="digits").config.space
    assert (space.teacher, space.student) == ("middle", "small")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('ends=("huge", "small")', "ends ('huge', 'small') must be two members, the larger first"),
        ('ends=("small", "large")', "ends ('small', 'large') must be two members, the larger fi"),
        ('ends=("large", "large")', "members from small to large: small, middle, large"),
        ('ends="large"', "ends 'large' must be two members"),
        ('tiny_ends=("large",)', "tiny_ends ('large',) must be two members"),
        ("ends=mlp(8)", "must be two members"),
        ('design="wide"', "design 'wide' is unknown; choose from residual, plain, benchmark, im"),
    ],
)
def test_ends_and_designs_that_there_are_not_are_refused(
    write: Write, said: str, message: str
) -> None:
    module = write(CODE.replace("small=", f"{said}, small="))
    with pytest.raises(InputError) as caught:
        load_families(module)
    (found,) = caught.value.messages
    assert "family 'mine': " in found and message in found
    assert "\n" not in found


def test_weights_follow_from_the_generator_alone(write: Write) -> None:
    one = architecture(write())
    before = torch.get_rng_state()
    first, again, other = (build(one, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not torch.equal(weights(first)[0], weights(other)[0])
    assert first.training


def test_other_code_is_another_model(write: Write) -> None:
    module = write()
    one = architecture(module)
    write(CODE.replace("ReLU", "GELU"), module)
    two = architecture(module)
    assert one.code != two.code and one.origin == two.origin
    with pytest.raises(InputError, match="differs from the code that the stage was planned with"):
        build(one, seeded(0))
    assert architecture(module) == two


def test_code_of_other_files_counts_where_callables_come_from_it(write: Write) -> None:
    """Including partial objects and callable objects."""
    name = Path.cwd().name
    user = f"""
from functools import partial
import dgkd_search
from nets_{name} import Maker, mlp

dgkd_search.family("mine", a=partial(partial(mlp), width=4), b=Maker())
"""
    nets = """
from torch import nn

def mlp(width, classes, **_):
    return nn.Linear(width, classes)

class Maker:
    def __call__(self, **_):
        return nn.Identity()
"""
    checksums = set()
    for body in (nets, nets.replace("Linear(", "LazyLinear(")):
        write(body, f"nets_{name}")
        checksums.add(architecture(write(user), "a").code)
    assert len(checksums) == 2


def test_an_architecture_that_is_built_in_is_told_without_code() -> None:
    told = Architecture("resnet", "resnet8", 10, 3, 32).to_dict()
    assert set(told) == {"family", "name", "classes", "channels", "image_size"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_to_be_found", "can't be imported (ModuleNotFoundError: No module named"),
        ("1 / 0", "can't be imported (ZeroDivisionError: division by zero)"),
        ("raise SystemExit(3)", "can't be imported (SystemExit: 3)"),
        ("import dgkd_search\ndgkd_search.family('mine')", "(ValueError: family 'mine': 0 members"),
        (
            "import dgkd_search\ndgkd_search.family('resnet', a=print, b=print)",
            "family 'resnet': already registered",
        ),
    ],
)
def test_a_module_that_is_no_use_is_refused_in_one_line(
    write: Write, code: str, reason: str
) -> None:
    module = write(code)
    with pytest.raises(InputError) as caught:
        load_families(module)
    (message,) = caught.value.messages
    assert message.startswith(f"--models {module}: ") and reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("body", "reason"),
    [("1 / 0", "can't be built for 10 classes and images of 1 x 8 x 8 (ZeroDivisionError"),
     ("return 3", "returns a int; return a torch.nn.Module")],
)  # fmt: skip
def test_a_network_that_cannot_be_made_is_named(write: Write, body: str, reason: str) -> None:
    code = f"import dgkd_search\ndef make(**_):\n    {body}\n"
    code += "dgkd_search.family('mine', a=make, b=make)"
    with pytest.raises(InputError, match="model 'a' of mymodels") as caught:
        build(architecture(write(code), "a"), seeded(0))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("nn.Flatten()", "returns float32 [2, 64] for two images, not float [2, 10]"),
        ("nn.Sequential(nn.Flatten(), nn.Linear(3, 10))", "fails on images of 1 x 8 x 8 (Run"),
        ("nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)", "is frozen or qu"),
        ("nn.Sequential(nn.Flatten(), nn.Linear(64, 10))", None),
    ],
)
def test_networks_are_tried_out(write: Write, network: str, reason: str | None) -> None:
    code = f"import dgkd_search\nfrom torch import nn\ndef make(**_):\n    return {network}\n"
    one = architecture(write(code + "dgkd_search.family('mine', a=make, b=make)"), "a")
    if reason is None:
        validate_custom_model(one)
        return
    with pytest.raises(InputError, match="model 'a' of mymodels") as caught:
        validate_custom_model(one)
    assert reason in str(caught.value)
    if "requires_grad" in network:
        validate_custom_model(one, trained=False)  # a pretrained teacher


def test_installed_families_are_found_by_name(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = metadata.EntryPoint("mine", f"{write()}:MINE", "dgkd_search.families")
    installed = metadata.EntryPoints([entry])
    monkeypatch.setattr("dgkd_search.utils.registry._installed", lambda: installed)
    monkeypatch.syspath_prepend(Path.cwd())
    assert "mine" in registry.family_names()
    broken = metadata.EntryPoint("broken", "nowhere_to_be_found:X", "dgkd_search.families")
    installed = metadata.EntryPoints([entry, broken])
    monkeypatch.setattr("dgkd_search.utils.registry._installed", lambda: installed)
    with pytest.raises(
        InputError, match="family 'broken': the installed module nowhere_to_be_found:X"
    ):
        get_family("broken")
    assert load_families(entry.module), "whatever else is broken"
    assert [member.name for member in get_family("mine").members] == ["small", "middle", "large"]
