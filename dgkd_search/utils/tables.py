"""Tables that are printed as aligned text, as Markdown or as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dgkd_search.errors.shown import csv_cell, escape_markdown, shown, shown_lines


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: heading, with the unit of the values.
        align: ``right`` for numbers.
        format: format specification of the values, such as ``.2f``, or a function.
        width: minimum width in terminal columns, for text.
        help: explanation of the values, longer than the title.
    """

    title: str = ""
    align: Literal["left", "right"] = "left"
    format: str | Callable[[Any], str] = ""
    width: int = 0
    help: str = ""

    def cell(self, value: object) -> str:
        """Format a value."""
        return format(value, self.format) if isinstance(self.format, str) else self.format(value)


@dataclass(frozen=True)
class Table:
    """Rows of values under columns.

    Attributes:
        rows: one value per column, which formats it.

    Raises:
        ValueError: when the table is formatted, if a row has more or fewer values than columns.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    def lines(self, *, header: bool = True, gap: int = 2) -> list[str]:
        """Format the table as aligned text, with ``gap`` spaces between columns.

        Lines are neither cut nor wrapped. Not a table of rich, which takes a second for a thousand
        rows of eight columns; stores hold several thousand. Only the width of characters is rich's.
        """
        rows = [[shown(cell) for cell in row] for row in self._cells()]
        if header:
            rows.insert(0, [shown(column.title) for column in self.columns])
        widths = [
            max(column.width, *(_width(row[i]) for row in rows)) if rows else 0
            for i, column in enumerate(self.columns)
        ]
        lines = []
        for row in rows:
            cells = []
            for cell, width, column in zip(row, widths, self.columns, strict=True):
                blank = " " * (width - _width(cell))
                cells.append(blank + cell if column.align == "right" else cell + blank)
            lines.append((" " * gap).join(cells).rstrip())
        return lines

    def markdown(self) -> list[str]:
        """Format the table as lines of GitHub's Markdown, which show the cells literally."""
        rules = ["---:" if column.align == "right" else "---" for column in self.columns]
        rows = [[escape_markdown(cell) for cell in row] for row in self._cells()]
        rows = [[escape_markdown(column.title) for column in self.columns], rules, *rows]
        return [f"| {' | '.join(row)} |" for row in rows]

    def csv(self) -> str:
        """Format the table as CSV with a header; lines end in ``\\n``.

        A text that a spreadsheet would read as a formula is preceded by an apostrophe.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([csv_cell(column.title) for column in self.columns])
        for row, cells in zip(self.rows, self._cells(), strict=True):
            numbers = [isinstance(value, int | float) for value in row]
            writer.writerow(
                cell if number else csv_cell(cell)
                for number, cell in zip(numbers, cells, strict=True)
            )
        return text.getvalue()

    def _cells(self) -> list[list[str]]:
        return [
            [column.cell(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]


def _width(text: str) -> int:
    """Return the width of a text on a terminal, where a character takes zero to two columns."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # not needed by --help

    return cell_len(text)


def labeled(rows: Iterable[tuple[str, object]], width: int) -> list[str]:
    """Format rows of a name and a text, with the names in a column of at least ``width``.

    Long texts stay on one line: a terminal wraps them, and paths can be copied.
    """
    return Table((Column(width=width), Column()), [*rows]).lines(header=False, gap=1)


def print_blocks(blocks: Iterable[str | Table]) -> None:
    """Print lines and tables to standard output, with bold headers on a terminal."""
    if not sys.stdout.isatty():
        for block in blocks:
            lines = shown_lines(block) if isinstance(block, str) else block.lines()
            print("\n".join(lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for block in blocks:
        if isinstance(block, str):
            console.print(Text("\n".join(shown_lines(block))))
        else:
            head, *rows = block.lines()
            console.print(Text("\n").join([Text(head, "bold"), *map(Text, rows)]))
