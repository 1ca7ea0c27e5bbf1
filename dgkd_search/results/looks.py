"""Colors and markers of the figures and of the page: one look for one thing.

Okabe and Ito's colors, told apart by any eye; the blue is a little lighter, to be seen on a dark
page too. In gray the markers carry the difference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dgkd_search.distillation.guidance import get_guidance, guidance_names

BLUE, ORANGE, PURPLE, YELLOW = "#1F86C4", "#E69F00", "#CC79A7", "#F0E442"
GREEN, VERMILION, INK, GRAY = "#009E73", "#D55E00", "#222222", "#858585"
STATES = {"COMPLETE": BLUE, "PRUNED": "#A0A0A0"}


def guidance_look(name: str) -> tuple[str, str]:
    """Color and matplotlib marker of a guidance."""
    guidance = get_guidance(name)
    return guidance.color, guidance.marker


def in_order(guidances: Iterable[str]) -> list[str]:
    """Each of some guidances once, in the order in which they are listed everywhere."""
    there = set(guidances)
    return [name for name in guidance_names() if name in there]
