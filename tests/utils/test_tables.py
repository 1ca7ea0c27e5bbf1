from __future__ import annotations

import csv
import io
import sys

import pytest
from helpers.screens import Terminal, visible
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dgkd_search.errors.shown import csv_cell
from dgkd_search.utils.tables import Column, Table, labeled, print_blocks

TABLE = Table(
    (Column("model"), Column("MB", "right", ".2f"), Column("by", format=", ".join)),
    [("resnet8", 0.3, ["a", "b"]), ("犬|`*", 12, [])],
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=9)
ROWS = st.lists(st.tuples(TEXTS, st.integers()), max_size=5)


def test_columns_are_as_wide_as_they_need() -> None:
    assert TABLE.lines() == [
        "model       MB  by",
        "resnet8   0.30  a, b",
        "犬|`*    12.00",  # a character that takes two columns of a terminal
    ]
    assert TABLE.lines(header=False, gap=1)[0] == "resnet8  0.30 a, b"


def test_markdown_shows_every_cell_as_it_is() -> None:
    assert TABLE.markdown() == [
        "| model | MB | by |",
        "| --- | ---: | --- |",
        "| resnet8 | 0.30 | a, b |",
        r"| 犬\|\`\* | 12.00 |  |",
    ]


def test_csv_holds_the_same_cells() -> None:
    assert TABLE.csv() == 'model,MB,by\nresnet8,0.30,"a, b"\n犬|`*,12.00,\n'


@given(ROWS)
def test_every_form_has_every_row(rows: list[tuple[str, int]]) -> None:
    table = Table((Column("name"), Column("count", "right")), rows)
    assert len(table.lines()) == len(rows) + 1
    assert len(table.markdown()) == len(rows) + 2
    widths = {cell_len(line) for line in table.lines()}
    assert len(widths) == 1, "numbers at the right end on one column"
    assert [*csv.reader(io.StringIO(table.csv()))][1:] == [
        [csv_cell(name), str(n)] for name, n in rows
    ]


def test_a_cell_of_several_lines_stays_one_row() -> None:
    table = Table((Column("why"), Column("n")), [("a\nb", 1)])
    assert table.lines() == ["why   n", r"a\nb  1"]
    assert table.markdown()[-1] == r"| a\\nb | 1 |"
    assert table.csv() == "why,n\na\\nb,1\n"


def test_a_table_without_rows_has_a_header() -> None:
    assert Table((Column("a"), Column("b")), []).lines() == ["a  b"]
    assert Table((Column("a"),), []).lines(header=False) == []


@pytest.mark.parametrize("row", [("a",), ("a", "b", "c")])
def test_a_row_of_another_length_is_an_error(row: tuple[str, ...]) -> None:
    table = Table((Column("x"), Column("y")), [row])
    for show in (table.lines, table.markdown, table.csv):
        with pytest.raises(ValueError, match="argument 2 is"):
            show()


def test_names_have_a_column_of_their_own() -> None:
    rows = [("test", "97 %"), ("a name that is longer", "x" * 300), ("", "more")]
    assert labeled(rows[:1], 6) == ["test   97 %"]
    assert labeled(rows, 6) == [
        "test                  97 %",
        "a name that is longer " + "x" * 300,
        "                      more",
    ]


def test_headers_are_bold_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks: list[str | Table] = ["[red] store", TABLE, ""]
    print_blocks(blocks)
    plain = capsys.readouterr().out
    assert plain.splitlines() == ["[red] store", *TABLE.lines(), ""]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "8")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    print_blocks(blocks)
    assert "\x1b[1mmodel" in out.getvalue()
    assert visible(out.getvalue()) == plain, "nothing is cut or wrapped"
