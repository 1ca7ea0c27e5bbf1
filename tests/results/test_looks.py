from __future__ import annotations

import pandas as pd
import pytest
from helpers.registries import isolate

from dgkd_search.distillation.guidance import Guidance, guidance_names, register_guidance
from dgkd_search.results.looks import guidance_look, in_order
from dgkd_search.results.report import charts


@pytest.fixture(autouse=True)
def outer(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)

    @register_guidance
    class Outer(Guidance):
        name, method, color, marker = "outer", "OuterKD", "#56B4E9", "v"

        def teachers(self, position: int) -> tuple[int, ...]:
            return tuple({0, position - 1})


def test_a_guidance_looks_as_it_says() -> None:
    assert guidance_look("outer") == ("#56B4E9", "v")
    looks = [guidance_look(name) for name in guidance_names()]
    assert len(set(looks)) == len(looks)


def test_the_order_is_that_of_the_registry() -> None:
    assert in_order(["none", "outer", "dense", "dense"]) == ["dense", "none", "outer"]


def test_the_page_has_the_same_colors() -> None:
    drawn = pd.DataFrame({"guidance": ["outer", "dense"]})
    encoding = charts._guidance_colors(drawn).to_dict()
    assert isinstance(encoding, dict)
    scale = encoding["scale"]
    assert scale["domain"] == ["dense", "outer"]
    assert scale["range"] == [guidance_look(name)[0] for name in scale["domain"]]
