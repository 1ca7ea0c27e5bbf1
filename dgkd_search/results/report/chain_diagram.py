"""Draw a chain as SVG: models from left to right, an arrow from each teacher to its learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from dgkd_search.errors.shown import shown

_WIDTH, _HEIGHT, _GAP = 132, 62, 34  # size of a box, and space between two, in pixels
_LEGIBLE = 0.7  # smallest scale of the drawing; a longer chain is scrolled instead
_LARGE, _SMALL = 15, 20  # characters of a name that fit into a box, in two font sizes
_ARC = 26  # height that an arc gains with each model that it passes over


@dataclass(frozen=True)
class Node:
    """A model of the drawn chain.

    Attributes:
        parameters: number of parameters; None if unknown.
        accuracy: validation accuracy in percent; None if unknown.
        teachers: positions of its teachers in the chain.
    """

    name: str
    parameters: int | None
    accuracy: float | None
    teachers: tuple[int, ...]


def draw_chain(nodes: Sequence[Node], drop_prob: float | None) -> Markup:
    """Return the drawing as SVG; its colors are CSS variables of the page.

    Args:
        nodes: teacher first.
        drop_prob: drop probability of the student's teachers, or None; their arrows are dashed if
            it is above 0.
    """
    last = len(nodes) - 1
    reach = max((i - s for i, node in enumerate(nodes) for s in node.teachers), default=1)
    top = 14 + _ARC * max(0, reach - 1)
    width = len(nodes) * _WIDTH + last * _GAP
    parts = []
    nodes = [replace(node, name=shown(node.name)) for node in nodes]
    for i, node in enumerate(nodes):
        dropped = i == last and bool(drop_prob)
        for teacher in node.teachers:
            parts.append(_arrow(teacher, i, top, dropped))
    for i, node in enumerate(nodes):
        parts.append(_box(node, i * (_WIDTH + _GAP), top, i == last))
    names = " to ".join(f"{node.name}" for node in nodes)
    label = escape(f"chain from {names}")
    return Markup(
        f'<svg class="chain" role="img" aria-label="{label}" viewBox="0 0 {width} '
        f'{top + _HEIGHT + 4}" style="min-width:{round(_LEGIBLE * width)}px;max-width:{width}px">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _box(node: Node, left: int, top: int, student: bool) -> str:
    middle = left + _WIDTH / 2
    size = "large" if len(node.name) < _LARGE else "small"
    accuracy = "" if node.accuracy is None else f"{node.accuracy:.2f} %"
    return (
        f'<g class="{"student" if student else "source"}"><title>{escape(node.name)}</title>'
        f'<rect x="{left + 1}" y="{top}" width="{_WIDTH - 2}" height="{_HEIGHT}" rx="7"/>'
        f'<text class="{size}" x="{middle}" y="{top + 19}">{escape(_short(node.name))}</text>'
        f'<text class="fact" x="{middle}" y="{top + 37}">{_count(node.parameters)}</text>'
        f'<text class="fact" x="{middle}" y="{top + 53}">{accuracy}</text></g>'
    )


def _short(name: str) -> str:
    """Shorten a long name to its beginning and end, in which names of a family differ."""
    if len(name) <= _SMALL:
        return name
    half = (_SMALL - 1) // 2
    return f"{name[: half + 1]}…{name[-half:]}"


def _arrow(teacher: int, student: int, top: int, dropped: bool) -> str:
    step = _WIDTH + _GAP
    look = ' class="dropped"' if dropped else ""
    if student == teacher + 1:
        y = top + _HEIGHT / 2
        path = f"M{teacher * step + _WIDTH} {y}H{student * step - 2}"
    else:
        start = teacher * step + _WIDTH * 0.75
        end = student * step + _WIDTH * 0.25
        peak = top - _ARC * (student - teacher - 1) * 1.25
        path = f"M{start} {top}C{start} {peak} {end} {peak} {end} {top - 3}"
    return f'<path{look} d="{path}" marker-end="url(#tip)"/>'


def _count(parameters: int | None) -> str:
    if parameters is None:
        return ""
    if parameters >= 1_000_000:
        return f"{parameters / 1e6:.2f} M parameters"
    return f"{parameters / 1e3:.1f} k parameters"
