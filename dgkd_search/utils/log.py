"""The type of functions that receive lines for the user."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], object]  # called with one line at a time


def silent(line: str) -> None:
    """Log nothing."""
