"""Tables: columns and rows stated once, and shown as aligned text, as Markdown or as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dgkd_search.utils.formatting import escape_markdown


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: what stands above it, with the unit of its values.
        align: ``right`` for numbers.
        format: of a value: a format specification, as ``.2f``, or a function.
        width: letters that it takes at least, in text.
        help: what its values are, where more room is than for the title.
    """

    title: str = ""
    align: Literal["left", "right"] = "left"
    format: str | Callable[[Any], str] = ""
    width: int = 0
    help: str = ""

    def cell(self, value: object) -> str:
        """A value as the column shows it."""
        return format(value, self.format) if isinstance(self.format, str) else self.format(value)


@dataclass(frozen=True)
class Table:
    """Rows under their columns.

    Attributes:
        rows: values, of which each column formats its own; each as long as ``columns``.

    Raises:
        ValueError: on showing it, if a row is shorter or longer.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    def lines(self, *, header: bool = True, gap: int = 2) -> list[str]:
        """As text: columns as wide as they need, ``gap`` apart; no line is cut or wrapped.

        rich's own table would do, but takes a second for a thousand rows of eight columns, and
        stores hold several thousand. What rich knows better is how wide a letter is.
        """
        rows = [[" ".join(cell.splitlines()) for cell in row] for row in self._cells()]
        if header:
            rows.insert(0, [column.title for column in self.columns])
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
        """As lines of GitHub's Markdown, in which every cell is shown as it is."""
        rules = ["---:" if column.align == "right" else "---" for column in self.columns]
        rows = [[escape_markdown(cell) for cell in row] for row in self._cells()]
        rows = [[escape_markdown(column.title) for column in self.columns], rules, *rows]
        return [f"| {' | '.join(row)} |" for row in rows]

    def csv(self) -> str:
        """As CSV with a header; lines end in a bare newline."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.title for column in self.columns])
        writer.writerows(self._cells())
        return text.getvalue()

    def _cells(self) -> list[list[str]]:
        return [
            [column.cell(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]


def _width(text: str) -> int:
    """Of a text on a terminal, where some letters take two columns and some none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # --help does without

    return cell_len(text)


def labeled(rows: Iterable[tuple[str, object]], width: int) -> list[str]:
    """Lines of a name and what is said of it, the names in a column of ``width`` letters or more.

    Long texts stay on one line: a terminal wraps them, and a path can be copied.
    """
    return Table((Column(width=width), Column()), [*rows]).lines(header=False, gap=1)


def print_blocks(blocks: Iterable[str | Table]) -> None:
    """Print lines and tables to standard output: on a terminal with bold headers, else plainly."""
    if not sys.stdout.isatty():
        for block in blocks:
            print(block if isinstance(block, str) else "\n".join(block.lines()))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for block in blocks:
        if isinstance(block, str):
            console.print(Text(block))
        else:
            head, *rows = block.lines()
            console.print(Text("\n").join([Text(head, "bold"), *map(Text, rows)]))
