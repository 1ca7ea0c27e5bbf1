"""Formatting of numbers, durations and sizes."""

from __future__ import annotations


def format_value(value: object, separator: str = ", ") -> str:
    """Format an option's value as in a ``--config`` file; None and empty lists are ``none``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return separator.join(map(str, value)) or "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float) -> str:
    """Format a duration with the precision of an estimate: ``12 s``, ``5 min``, ``2 h 05 min``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def pluralize(count: int, what: str) -> str:
    """Return a count with its noun, as in ``1 view`` and ``2 views``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def format_bytes(size: float) -> str:
    """Format a number of bytes: 512 B, 1.5 MB, 20 GB (powers of 1024)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
