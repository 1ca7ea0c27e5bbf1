"""The registry of losses, and custom losses in the specs of stages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.losses import LogitMSE
from helpers.registries import isolate

from dgkd_search.errors import InputError
from dgkd_search.training.losses.base import KL, DistillationLoss, LossSpec
from dgkd_search.training.losses.registry import get_loss, loss_names, loss_of, register_loss
from dgkd_search.utils.registry import adds_something


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)


def test_the_papers_loss_comes_first() -> None:
    assert loss_names() == ("kl", "dist")
    assert [get_loss(name).title for name in loss_names()] == ["KL divergence", "DIST"]
    assert all(get_loss(name).source.startswith("arXiv ") for name in loss_names())
    assert get_loss("kl").spec == KL == LossSpec("kl")
    assert KL.to_dict() == {"name": "kl"}


def test_one_of_a_users_own_is_named_with_its_module_and_code() -> None:
    register_loss(LogitMSE)
    assert loss_names() == ("kl", "dist", "mse")
    assert adds_something("helpers.losses")
    spec = get_loss("mse").spec
    assert (spec.name, spec.origin, len(spec.code)) == ("mse", "helpers.losses", 32)
    assert LossSpec.from_dict(spec.to_dict()) == spec
    assert loss_of(spec) is get_loss("mse")
    register_loss(LogitMSE)  # as if its module were imported again
    assert get_loss("mse").spec == spec
    assert LogitMSE.origin == LogitMSE.code == "", "the class is the user's"


def test_other_code_is_another_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Including the code of its base classes in other files, whatever classes these are."""
    monkeypatch.syspath_prepend(tmp_path)
    names = f"parent_{tmp_path.name}", f"child_{tmp_path.name}", f"mixin_{tmp_path.name}"
    parent, child, mixin = (tmp_path / f"{name}.py" for name in names)
    mixin.write_text("class Mixin:\n    pass\n")
    parent.write_text(Path(str(sys.modules["helpers.losses"].__file__)).read_text())
    child.write_text(
        f"from dgkd_search import register_loss\nfrom {names[0]} import LogitMSE\n"
        f"from {names[2]} import Mixin\n\n\n"
        "@register_loss\nclass Mine(Mixin, LogitMSE):\n    name = 'mine'\n"
    )
    specs = []
    for changed in (None, parent, child, mixin):
        if changed is not None:
            changed.write_text(changed.read_text() + "# another word\n")
        for name in names:
            sys.modules.pop(name, None)
        importlib.import_module(names[1])
        specs.append(get_loss("mine").spec)
    assert len({spec.code for spec in specs}) == 4
    assert {spec.origin for spec in specs} == {names[1]}
    message = (
        rf"loss 'mine': its code \({names[1]}\) differs from the code that the stage was planned"
    )
    with pytest.raises(InputError, match=message):
        loss_of(specs[0])
    assert loss_of(specs[-1]).name == "mine"


def test_an_unknown_one_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="loss 'x': unknown; choose from kl, dist, or name your"):
        loss_of(LossSpec("x"))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": None}, "Odd: name must be a text"),
        ({"title": 3}, "Odd: title must be a text"),
        ({"name": "two words"}, "'two words': a name may have"),
        ({"uses_temperature": "no"}, "uses_temperature 'no' must be True or"),
        ({"name": "kl"}, "loss 'kl': already registered"),
    ],
)
def test_a_class_that_is_no_loss_is_refused(attributes: dict[str, Any], message: str) -> None:
    odd: type[DistillationLoss] = type("Odd", (LogitMSE,), attributes)
    with pytest.raises(ValueError, match=message):
        register_loss(odd)
