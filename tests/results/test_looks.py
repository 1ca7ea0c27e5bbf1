from __future__ import annotations

import pytest
from helpers.registries import isolate

from dgkd_search.distillation.guidances.base import Guidance
from dgkd_search.distillation.guidances.registry import _MARKERS, guidance_names, register_guidance
from dgkd_search.results.looks import BLUE, Look, guidance_looks, in_order, vega_shape


@pytest.fixture(autouse=True)
def outer(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)

    @register_guidance
    class Outer(Guidance):
        name, method, color, marker = "outer", "OuterKD", "#56B4E9", "v"

        def teachers(self, position: int) -> tuple[int, ...]:
            return tuple({0, position - 1})


def test_a_guidance_looks_as_it_says() -> None:
    looks = guidance_looks(guidance_names())
    assert looks["outer"] == Look("completed, outer", "#56B4E9", "v")
    assert len({look.marker for look in looks.values()}) == len(looks), "told apart in gray"
    assert len({look.color for look in looks.values()}) == len(looks)


def test_of_two_that_ask_for_the_same_look_the_later_gets_another() -> None:
    for name in ("plain", "plainer", "plainest"):
        teachers = {"teachers": lambda self, position: (0,)}
        register_guidance(type(name, (Guidance,), {"name": name, "method": name, **teachers}))
    looks = guidance_looks(["plainest", "plain", "dense", "plainer"])
    assert looks["plain"].marker == Guidance.marker
    assert len({look.marker for look in looks.values()}) == 4
    assert len({look.color for look in looks.values()}) == 4


def test_the_order_is_that_of_the_registry() -> None:
    assert in_order(["none", "outer", "dense", "dense"]) == ["dense", "none", "outer"]


def test_every_marker_has_a_shape_of_its_own_on_the_page() -> None:
    shapes = [vega_shape(Look("", BLUE, marker)) for marker in (*_MARKERS, "x", "interval", "bar")]
    assert len(set(shapes)) == len(shapes)
    assert vega_shape(Look("", BLUE, "v", filled=False)).count("M") == 2, "an outline has a hole"
