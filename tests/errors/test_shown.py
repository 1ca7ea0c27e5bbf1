"""What is shown is one line without invisible characters, formulas, tags and links."""

from __future__ import annotations

import html
import re
import unicodedata
from importlib.util import find_spec

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dgkd_search.errors.shown import (
    csv_cell,
    escape_markdown,
    shown,
    shown_lines,
    shown_values,
    strip_colors,
)
from dgkd_search.utils.tables import Column, Table
from dgkd_search.utils.yaml_text import to_yaml_text

MARKDOWN = MarkdownIt("gfm-like", {"linkify": find_spec("linkify_it") is not None})
ANY = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("猫 naïve Ω 😀", "猫 naïve Ω 😀"),
        ("=cmd() <img> $x$", "=cmd() <img> $x$"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31mred\x07\x9b", r"\x1b[31mred\x07\x9b"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
        ("gpj\u202egif", r"gpj\u202egif"),
        ("a\u200b\u00ad\ufeff", r"a\u200b\xad\ufeff"),
        ("\u3164\u2800\U000e0041", r"\u3164\u2800\U000e0041"),
        ("a\u2028b\u0085", r"a\u2028b\x85"),
        ("no\u00a0break", r"no\xa0break"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text: str, visible: str) -> None:
    assert shown(text) == visible


@given(ANY)
def test_a_shown_text_is_one_visible_line(text: str) -> None:
    result = shown(text)
    assert result.isprintable()
    assert not {unicodedata.category(c)[0] for c in result if c != " "} & {"C", "Z"}
    assert shown(result) == result
    result.encode()


def test_lines_stay_lines() -> None:
    assert shown_lines("a\r\nb\n\x1bc\x0bd") == ["a", "b", r"\x1bc\x0bd"]
    assert shown_values({"x": ["\n", {"y": "\t"}], "z": 1.5}) == {
        "x": [r"\n", {"y": r"\t"}],
        "z": 1.5,
    }
    assert strip_colors("\x1b[1;31mred\x1b[0m \x1b[2J") == "red \x1b[2J"


@given(ANY)
def test_markdown_has_no_links_and_no_markup(text: str) -> None:
    """Addresses become links in GitHub's Markdown; a formula there begins with a dollar sign."""
    escaped = escape_markdown(text)
    for context in ("# {} on data", "- chain: {} > x", "- {}: recipe", "classes: a, {}."):
        page = MARKDOWN.render(context.format(escaped))
        assert {*re.findall(r"</?(\w+)", page)} <= {"h1", "p", "ul", "li"}
    assert not re.search(r"(?<!\\)(\\\\)*[$@]|://|www\.", escaped)


@pytest.mark.parametrize(
    "text",
    [
        *("![x](http://a.b/c)", "[x](y)", "http://a.b", "https://a.b/c?d", "www.evil.com", "<b>x"),
        *("<img src=x onerror=alert(1)>", "<!-- a", "# x", "1. x", "12) x", "- x", "+ x", "> x"),
        *("a|b", "`x`", "``", "$x^{$", "&lt;", "WWW.EVIL.COM", "HTTP://EVIL.COM", "mailto:a"),
        *("~~a~~", "__a__", "a_b", "***", "---", "===", "a\n===", "~~~", "\\", "a\\|b"),
    ],
)
def test_markdown_shows_odd_names_as_they_are(text: str) -> None:
    page = MARKDOWN.render(f"- {escape_markdown(text)}: recipe")
    assert html.unescape(page) == f"<ul>\n<li>{shown(text)}: recipe</li>\n</ul>\n"
    row = Table((Column("a"), Column("b")), [(text, 1)]).markdown()
    page = MARKDOWN.render("\n".join(row))
    assert re.findall("<td>(.*)</td>", html.unescape(page)) == [shown(text), "1"]


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "  =1+1", "＝1+1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_has_no_formula(text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    table = Table((Column("=name"), Column("n")), [(text, -1.5), ("-", -2)])
    assert table.csv().splitlines()[1].lstrip('"')[0] == "'"
    assert table.csv().endswith("\n-,-2\n"), "numbers stay numbers"


@given(ANY)
def test_no_cell_begins_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert len(cell.strip()) < 2 or cell.strip()[0] not in "=+-@\t\r"
    assert cell.isprintable()


@given(st.lists(ANY))
def test_yaml_keeps_every_text_and_shows_none(texts: list[str]) -> None:
    content = to_yaml_text({"classes": texts, "猫": 1})
    assert yaml.safe_load(content.encode()) == {"classes": texts, "猫": 1}
    assert all(line.isprintable() for line in content.split("\n"))


def test_other_scripts_are_readable_in_yaml() -> None:
    assert to_yaml_text({"classes": ["猫", "é"]}) == "classes:\n- 猫\n- é\n"
