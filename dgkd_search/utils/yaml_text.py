"""YAML whose text is safe to show and whose values are exact."""

from __future__ import annotations

import yaml

from dgkd_search.shown import shown_lines


def to_yaml_text(value: object) -> str:
    """Return YAML of plain values, in their order.

    Texts in other scripts are readable. If a text has characters that aren't safe to show, all that
    are not ASCII are escaped; the values that a reader gets are the same.
    """
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if text == "\n".join(shown_lines(text)):
        return text
    return str(yaml.safe_dump(value, sort_keys=False))
