"""YAML: parsing of what others may have written, and writing what is safe to show.

A short text can nest deeply, or multiply by aliases: a thousand references to a list of a thousand
references are a million values. Texts are therefore measured before values are built from them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from dgkd_search.errors.shown import shown_lines

# libyaml is thirty times as fast; every wheel of PyYAML contains it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# It refuses the escapes that stand for bytes of a file name that are no text.
_SURROGATE = re.compile(r"\\(u|U0000)[dD][89a-fA-F]")
_MAX_SLOW = 2**19  # characters of a text with such escapes, which PyYAML's own parser reads

_DEPTH = 32
_NODES = 200_000  # after every alias is replaced by what it refers to
_SCALAR = 10_000  # characters


class TooComplex(ValueError):
    """A text of YAML exceeds a limit."""


def load_yaml(text: str) -> object:
    """Return the value of a text, of plain types.

    Raises:
        yaml.YAMLError: the text is not YAML, or contains tags.
        TooComplex: it exceeds a limit.
        ValueError, RecursionError: a value can't be built.
    """
    _check_complexity(text)
    return yaml.load(text, Loader=yaml.SafeLoader if _has_surrogates(text) else _SafeLoader)


def compose_yaml(text: str) -> yaml.Node | None:
    """Return the nodes of a text, whose values all are texts; None if it is empty.

    Raises:
        yaml.YAMLError: the text is not YAML.
        TooComplex: it exceeds a limit.
    """
    _check_complexity(text)
    root: yaml.Node | None = yaml.compose(text, Loader=_base_loader(text))
    return root


def _has_surrogates(text: str) -> bool:
    return len(text) <= _MAX_SLOW and _SURROGATE.search(text) is not None


def _base_loader(text: str) -> Any:
    return yaml.BaseLoader if _has_surrogates(text) else _BaseLoader


def to_yaml_text(value: object) -> str:
    """Return YAML of plain values, in their order.

    Texts in other scripts are readable. If a text has characters that aren't safe to show, all that
    are not ASCII are escaped; the values that a reader gets are the same.
    """
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if text == "\n".join(shown_lines(text)):
        return text
    return str(yaml.safe_dump(value, sort_keys=False))


def _check_complexity(text: str) -> None:
    sizes: dict[str, int] = {}  # nodes of each finished anchor
    begun: list[tuple[str | None, int]] = []  # anchor, and nodes before it
    nodes = 0
    for event in yaml.parse(text, Loader=_base_loader(text)):
        mark = event.start_mark
        line = f"line {mark.line + 1}" if mark is not None else "the text"
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise TooComplex(f"{line}: *{event.anchor} refers to itself or to nothing")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if len(event.value) > _SCALAR:
                raise TooComplex(f"{line}: a value has more than {_SCALAR} characters")
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, nodes))
            nodes += 1
            if len(begun) > _DEPTH:
                raise TooComplex(f"{line}: values are nested more than {_DEPTH} times")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before
        if nodes > _NODES:
            raise TooComplex(f"{line}: has more than {_NODES} values, with those of aliases")
