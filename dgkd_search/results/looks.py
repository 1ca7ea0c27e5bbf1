"""Colors, markers and legend labels that the figures and the report page share.

The colors are those of Okabe and Ito, which are safe for color-blind readers; the blue is lighter
so that it is visible on a dark page. The markers differ too, for prints in gray.
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
    """How one kind of mark is drawn.

    Attributes:
        label: its name in legends.
        color: as ``#RRGGBB``.
        marker: a matplotlib marker, or ``interval`` or ``bar``; ``vega_shape`` converts it.
        filled: whether the marker is filled; otherwise it is an outline.
    """

    label: str
    color: str
    marker: str
    filled: bool = True


COMPLETED = Look("completed", BLUE, "o")
PRUNED = Look("pruned (last accuracy)", GRAY, "x")
COMPLETED_BELOW = Look("completed, below the scale (count)", BLUE, "v")
PRUNED_BELOW = Look("pruned, below the scale (count)", GRAY, "v", filled=False)
REPLICATES = Look("fresh seeds: mean, 95 % interval", INK, "interval")
COUNT_BEST = Look("best per count", GREEN, "bar")
COUNT_MEAN = Look("mean per count, 95 % interval", VERMILION, "D", filled=False)
MEAN_BELOW = Look("mean, below the scale (%)", VERMILION, "v", filled=False)
FRONT = Look("Pareto front", ORANGE, "bar")
BEST_SO_FAR = Look("best so far", VERMILION, "bar")
BEST = Look("best", YELLOW, "*")

# For a guidance whose class declares the same color and marker as another's.
_SPARE_COLORS = ("#56B4E9", "#7B5EA7", "#A6761D")
_SPARE_MARKERS = "vphX<>8Hd*"


def guidance_looks(guidances: Iterable[str]) -> dict[str, Look]:
    """Return the look of each guidance, in the order of ``in_order``.

    A guidance has the color and marker of its class. If they are taken, it gets spare ones.
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
    """Return the distinct guidances in the order of the registry."""
    present = set(guidances)
    return [name for name in guidance_names() if name in present]


def vega_shape(look: Look) -> str:
    """Return a look's marker as a Vega symbol: a filled SVG path in the square [-1, 1]."""
    outlines = _OUTLINES[look.marker]
    if not look.filled:  # an inner outline in the opposite direction leaves a hole
        outlines = [*outlines, *([(0.55 * x, 0.55 * y) for x, y in o[::-1]] for o in outlines)]
    return "".join("M" + "L".join(f"{x:.3g},{y:.3g}" for x, y in o) + "Z" for o in outlines)


_Outline = Sequence[tuple[float, float]]


def _polygon(corners: int, turn: float = 0.0, notch: float | None = None) -> _Outline:
    """Return a regular polygon, or a star if ``notch`` gives the radius of its inner corners.

    The first corner is ``turn`` degrees clockwise from the top.
    """
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
    """Return a plus whose arms have half width ``arm``, turned by ``turn`` degrees."""
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
