"""The family that follows from the names of models: of own modules and of packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from helpers.registries import isolate
from helpers.resolving import messages, resolved

from dgkd_search.config.family import family_of
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.yaml_file import read_config
from dgkd_search.errors import InputError
from dgkd_search.workflows.compare import methods, plan_method
from dgkd_search.workflows.single_chain import plan

CODE = """
from torch import nn
import dgkd_search

def linear(classes, channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))

dgkd_search.family("{0}", {1})
"""


def write(name: str, **families: str) -> str:
    """Write a module that registers families with these members; return its name."""
    parts = [
        CODE.format(family, ", ".join(f"{member}=linear" for member in members.split()))
        for family, members in families.items()
    ]
    Path(f"{name}.py").write_text("\n".join(parts))
    return name


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run in a folder of its own, and restore the registries; return a suffix for modules."""
    monkeypatch.chdir(tmp_path)
    isolate(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = set(sys.modules)
    yield tmp_path.name
    for name in set(sys.modules) - known:
        del sys.modules[name]


def install(monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Install packages that add families, each a module."""
    entries = [
        metadata.EntryPoint(family, module, "dgkd_search.families")
        for family, module in modules.items()
    ]
    monkeypatch.setattr(
        "dgkd_search.utils.registry._installed", lambda: metadata.EntryPoints(entries)
    )


@pytest.mark.parametrize(
    ("named", "family"),
    [
        ({"teacher": "tall"}, "one"),
        ({"student": "wide"}, "two"),
        ({"assistants": "mid"}, "one"),
        ({"teacher": "both", "student": "low"}, "one"),
        ({"teacher": "both", "student": "slim"}, "two"),
    ],
)
def test_of_several_families_of_a_module(apart: str, named: dict[str, Any], family: str) -> None:
    module = write(f"several_{apart}", one="low mid both tall", two="slim both wide wider")
    assert family_of(parse_options({**named, "models": module})).name == family
    assert messages(models=module) == (
        f"--family: missing; choose one of {module}: one, two, or name models",
    )
    assert messages(models=module, teacher="both") == (
        "--teacher both: in each of the families one, two; choose one with --family",
    )
    assert resolved(models=module, teacher="both", family="one").config.family == "one"


def test_of_a_module_its_own_names_come_first(apart: str) -> None:
    module = write(f"first_{apart}", mine="resnet8 resnet20 huge")
    assert resolved(models=module, teacher="resnet20").config.family == "mine"
    (message,) = messages(models=module, teacher="resnet26")
    assert message.startswith(f"--models {module}: contradicts --teacher resnet26 (family resnet)")
    assert message.endswith("leave out --models, or choose from resnet8, resnet20, huge")
    (message,) = messages(models=module, teacher="huger")
    assert "near names: huge (family mine)" in message
    (message,) = messages(teacher="resnet20")  # the module has been imported
    assert message.startswith("--teacher resnet20: in each of the families resnet, mine; choose")
    assert resolved(teacher="resnet20", family="resnet").config.family == "resnet"


def test_of_installed_packages(apart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write(f"packaged_{apart}", packaged="little lots resnet20")
    install(monkeypatch, packaged=module, broken="nowhere_to_be_found")
    config = resolved(student="little").config
    assert (config.family, config.space.teacher) == ("packaged", "resnet20")
    (message,) = messages(teacher="resnet20")
    assert message.startswith("--teacher resnet20: in each of the families resnet, packaged;")
    assert resolved(teacher="resnet26").config.family == "resnet", "whatever is broken"
    first, second = messages(teacher="litle")
    assert "near names: little (family packaged)" in first
    assert second.startswith("family 'broken': the installed module nowhere_to_be_found can't be")


def test_in_plans_comparisons_and_files(apart: str) -> None:
    small: dict[str, Any] = {"train_limit": 60, "epochs": 1, "batch_size": 20, "store": "store"}
    module = write(f"planned_{apart}", one="low mid tall", two="slim wide")
    stages, _ = plan(["wide", "slim"], models=module, **small)
    assert stages[0].architecture.family == "two"
    stages, _ = plan(["wrn_16_2", "wrn_10_1"], **small)
    assert {stage.architecture.family for stage in stages} == {"wrn"}
    ends = {"teacher": "tall", "student": "low", "models": module}
    for method in methods(("tall", "mid", "low"))[1:]:
        stages, _ = plan_method(method, 0, {**small, **ends})
        assert {stage.architecture.family for stage in stages} == {"one"}
    wrong: list[tuple[list[Any], str]] = [
        (["wrn_16_2", "resnet8"], "model wrn_16_2 (family wrn), model resnet8 (family resnet): ar"),
        (["resnet20", "resnet9"], "model 'resnet9': unknown; near names: resnet"),
        (
            ["resnet20", "a\n\x1b[2Jb"],
            "model 'a\\n\\x1b[2Jb': unknown; name a model of the families",
        ),
        ([20, "resnet8"], "model '20': unknown; name a model of the families resnet, plain"),
    ]
    for names, start in wrong:
        with pytest.raises(InputError) as caught:
            plan(names, **small)
        (message,) = caught.value.messages
        assert message.startswith(start)
    with pytest.raises(InputError, match=r"^--family vgg: contradicts model wrn_16_2 "):
        plan(["wrn_16_2", "wrn_10_1"], family="vgg", **small)
    with pytest.raises(InputError, match=r"^--family vggg: unknown; choose from resnet"):
        plan(["wrn_16_2", "wrn_10_1"], family="vggg", **small)
    with pytest.raises(InputError, match=r"^model wrn_16_2 \(family wrn\), --student resnet8"):
        plan(["wrn_16_2"], student="resnet8", **small)
    Path("c.yaml").write_text("teacher: wrn_16_2\n")
    assert family_of(parse_options(read_config(Path("c.yaml"), []))).name == "wrn"
