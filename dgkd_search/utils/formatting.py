"""Numbers, durations and foreign text as people read them."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")
# What Markdown takes for more than a letter anywhere; an underscore within a word is none of it.
_MARKDOWN = re.compile(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


def strip_control_chars(text: str) -> str:
    """Without escape sequences and control characters, newlines excepted."""
    return _CONTROLS.sub(" ", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is, on one line: names hold ``|``, ``*`` or backticks."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.splitlines()))


def format_value(value: object, separator: str = ", ") -> str:
    """The value of an option as a ``--config`` file takes it: none for None and for no values."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return separator.join(map(str, value)) or "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float) -> str:
    """A duration as an estimate deserves it."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def pluralize(count: int, what: str) -> str:
    """For example ``1 view`` and ``2 views``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def format_bytes(size: float) -> str:
    """Bytes as people read them: 512 B, 1.5 MB, 20 GB (powers of 1024)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
