"""Printing to the terminal: every line that a command prints is safe to show."""

from __future__ import annotations

import sys

from dgkd_search.errors.shown import shown_lines


def say(text: object) -> None:
    """Print a text, such as a result, to standard output."""
    print("\n".join(shown_lines(str(text))), flush=True)


def say_error(text: object) -> None:
    """Print a text, such as a message or a note, to standard error."""
    print("\n".join(shown_lines(str(text))), file=sys.stderr, flush=True)
