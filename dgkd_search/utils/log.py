"""Where lines for a user go."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], object]  # is called with a line at a time


def silent(line: str) -> None:
    """Log nothing."""
