"""Colors, markers and names of the figures and of the page: one look for one thing.

Okabe and Ito's colors, told apart by any eye; the blue is a little lighter, to be seen on a dark
page too. In gray the markers carry the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dgkd_search.distillation.guidances.registry import get_guidance, guidance_names

BLUE, ORANGE, YELLOW = "#1F86C4", "#E69F00", "#F0E442"
GREEN, VERMILION, INK, GRAY = "#009E73", "#D55E00", "#222222", "#858585"


@dataclass(frozen=True)
class Look:
    """How one kind of thing is drawn.

    Attributes:
        label: its name in legends.
        color: as ``#RRGGBB``.
        marker: as matplotlib names it, or ``interval`` or ``bar``; ``vega_shape`` gives the page's.
        filled: or an outline around the background.
    """

    label: str
    color: str
    marker: str
    filled: bool = True


COMPLETED = Look("completed", BLUE, "o")
PRUNED = Look("pruned (last accuracy)", GRAY, "x")
COMPLETED_BELOW = Look("completed, below the scale (number)", BLUE, "v")
PRUNED_BELOW = Look("pruned, below the scale (number)", GRAY, "v", filled=False)
REPLICATES = Look("fresh seeds: mean with 95% t-interval", INK, "interval")
COUNT_BEST = Look("best of each count", GREEN, "bar")
COUNT_MEAN = Look("mean with 95% t-interval", VERMILION, "D", filled=False)
MEAN_BELOW = Look("mean, below the scale (%)", VERMILION, "v", filled=False)
FRONT = Look("front: no other is better in both", ORANGE, "bar")
BEST_SO_FAR = Look("best so far", VERMILION, "bar")
BEST = Look("best", YELLOW, "*")

# For guidances whose classes ask for the same look as another's.
_SPARE_COLORS = ("#56B4E9", "#7B5EA7", "#A6761D")
_SPARE_MARKERS = "vphX<>8Hd*"


def guidance_looks(guidances: Iterable[str]) -> dict[str, Look]:
    """The look of each of some guidances, in the order in which they are listed everywhere.

    Each looks as its class says; of two that would look alike the later one gets a spare look.
    """
    looks: dict[str, Look] = {}
    for name in in_order(guidances):
        guidance = get_guidance(name)
        color, marker = guidance.color, guidance.marker
        if (color, marker) in {(look.color, look.marker) for look in looks.values()}:
            taken = {look.marker for look in looks.values()}
            marker = next((m for m in _SPARE_MARKERS if m not in taken), marker)
            color = _SPARE_COLORS[len(looks) % len(_SPARE_COLORS)]
        looks[name] = Look(f"completed, {name}", color, marker)
    return looks


def in_order(guidances: Iterable[str]) -> list[str]:
    """Each of some guidances once, in the order in which they are listed everywhere."""
    there = set(guidances)
    return [name for name in guidance_names() if name in there]


def vega_shape(look: Look) -> str:
    """A look's marker as Vega wants it: a path in a square from -1 to 1, to be filled."""
    outlines = _OUTLINES[look.marker]
    if not look.filled:  # the inner outline runs the other way round, which leaves a hole
        outlines = [*outlines, *([(0.55 * x, 0.55 * y) for x, y in o[::-1]] for o in outlines)]
    return "".join("M" + "L".join(f"{x:.3g},{y:.3g}" for x, y in o) + "Z" for o in outlines)


_Outline = Sequence[tuple[float, float]]


def _polygon(corners: int, turn: float = 0.0, notch: float | None = None) -> _Outline:
    """A regular polygon, its first corner ``turn`` degrees right of the top; a star by a notch."""
    radii = [1.0] if notch is None else [1.0, notch]
    count = corners * len(radii)
    angles = [math.radians(turn + 360 * i / count) for i in range(count)]
    return [
        (radii[i % len(radii)] * math.sin(angle), -radii[i % len(radii)] * math.cos(angle))
        for i, angle in enumerate(angles)
    ]


def _box(left: float, top: float, right: float, bottom: float) -> _Outline:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cross(arm: float, turn: float) -> _Outline:
    """A plus with arms of that half width, turned by so many degrees."""
    corner = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    points: list[tuple[float, float]] = []
    for _ in range(4):
        points += corner
        corner = [(-y, x) for x, y in corner]
    return [(x * cosine - y * sine, x * sine + y * cosine) for x, y in points]


_OUTLINES: dict[str, Sequence[_Outline]] = {
    "o": [_polygon(24)],
    "s": [_box(-0.87, -0.87, 0.87, 0.87)],
    "D": [_polygon(4)],
    "d": [[(0, -1), (0.6, 0), (0, 1), (-0.6, 0)]],
    "^": [_polygon(3)],
    ">": [_polygon(3, 90)],
    "v": [_polygon(3, 180)],
    "<": [_polygon(3, 270)],
    "P": [_cross(0.35, 0)],
    "X": [_cross(0.35, 45)],
    "x": [_cross(0.14, 45)],
    "p": [_polygon(5)],
    "*": [_polygon(5, notch=0.45)],
    "h": [_polygon(6)],
    "H": [_polygon(6, 30)],
    "8": [_polygon(8, 22.5)],
    "bar": [_box(-1.2, -0.2, 1.2, 0.2)],
    "interval": [
        _box(-0.12, -1.2, 0.12, 1.2),
        _box(-0.5, -1.2, 0.5, -0.98),
        _box(-0.5, 0.98, 0.5, 1.2),
        _box(-0.9, -0.2, 0.9, 0.2),
    ],
}
