from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dgkd_search.errors.shown import escape_markdown
from dgkd_search.utils.formatting import format_value
from dgkd_search.utils.tables import Column, Table

LETTERS = st.text("ab1 \\`*_[]()<>|&;~!#", min_size=1, max_size=12)


def shown(cell: str) -> str:
    """Return what GitHub's Markdown shows for that text in a table cell."""
    lines = Table((Column("name"), Column("x")), [(cell, "x")]).markdown()
    page = MarkdownIt("gfm-like", {"linkify": False}).render("\n".join(lines))
    (row,) = re.findall(r"<tbody>\s*<tr>\s*<td>(.*)</td>\s*<td>x</td>", page)
    assert "<" not in row, "nothing is emphasized, linked or code"
    return html.unescape(row)


@given(LETTERS)
def test_markdown_shows_an_escaped_text_as_it_is(text: str) -> None:
    assert shown(text) == text.strip()


@pytest.mark.parametrize("name", ["resnet8", "wrn_40_2", "plain8-c10", "52.31 ± 0.42", "A & B", ""])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert escape_markdown(name) == name


def test_an_escaped_text_is_one_line() -> None:
    assert escape_markdown("a\n| b") == r"a\\n\| b"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (False, "false"),
        (("a", "b"), "a, b"),
        ([0.5, 1], "0.5, 1"),
        ((), "none"),
        (0.1 + 0.2, "0.3"),
        (3, "3"),
        (None, "none"),
        (0.123456789, "0.123456789"),
        (1234567.0, "1234567"),
    ],
)
def test_a_value_is_shown_as_it_is_typed(value: object, shown: str) -> None:
    assert format_value(value) == shown
    assert format_value(value, ",") == shown.replace(", ", ",")
