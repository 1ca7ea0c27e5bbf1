"""Colors and markers of the figures and of the page: one look for one thing.

Okabe and Ito's colors, told apart by any eye; the blue is a little lighter, to be seen on a dark
page too. In gray the markers carry the difference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dgkd_search.distillation.guidance import get_guidance, guidance_names
from dgkd_search.errors import InputError

BLUE, ORANGE, PURPLE, YELLOW = "#1F86C4", "#E69F00", "#CC79A7", "#F0E442"
GREEN, VERMILION, INK, GRAY = "#009E73", "#D55E00", "#222222", "#858585"
STATES = {"COMPLETE": BLUE, "PRUNED": "#A0A0A0"}


def guidance_look(name: str) -> tuple[str, str]:
    """Color and matplotlib marker of a guidance; gray where its package isn't at hand."""
    try:
        guidance = get_guidance(name)
    except InputError:
        return GRAY, "D"
    return guidance.color, guidance.marker


def in_order(guidances: Iterable[str]) -> list[str]:
    """Each of some guidances once: those that are known in their order, then the others."""
    there = set(guidances)
    return [*(n for n in guidance_names() if n in there), *sorted(there - {*guidance_names()})]
