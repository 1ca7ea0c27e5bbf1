"""Showing names and messages from outside: what a reader sees is harmless and unambiguous.

Names of files, classes, models and runs, and messages of exceptions, may hold anything. Every place
that shows a text passes it through ``shown`` last, and then through the escaping of its format:
``escape_markdown`` and ``csv_cell`` here, ``to_yaml_text`` for YAML, autoescaping for HTML.
"""

from __future__ import annotations

import re
from typing import Any

# Characters that ``str.isprintable`` accepts but fonts leave blank: fillers, selectors, joiners.
_BLANKS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_COLORS = re.compile(r"\x1b\[[\d;:]*m")
_LINE_BREAK = re.compile(r"\r\n|\n")
# Characters with a meaning in GitHub's Markdown, where addresses become links and "$" begins a
# formula. An underscore inside a word has no meaning.
_MARKDOWN = re.compile(
    r"[\\`*\[\]<|~$@]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)"
    r"|:(?=//)|(?<=\bwww)\.|(?<=\bmailto):|(?<=\bxmpp):",
    re.IGNORECASE,
)
_MARKDOWN_BLOCK = re.compile(r"^(\d{1,9})?(?=[.)]\s)|^(?=(?:#{1,6}|[-+])\s|>)")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20].")


def shown(text: str) -> str:
    r"""Return a text as one line that is safe to show.

    Control characters, lone surrogates (bytes of a file name that are no text), direction marks,
    invisible and unassigned characters, and spaces other than " " become escapes as in Python:
    ``\n``, ``\x1b``, ``\udce9``, ``\u202e``. Other texts stay as they are.
    """
    if text.isprintable() and not _BLANKS.search(text):
        return text
    return "".join(map(_shown_character, text))


def shown_lines(text: str) -> list[str]:
    """Return the lines of a text, each safe to show."""
    return [shown(line) for line in _LINE_BREAK.split(text)]


def shown_values(value: Any) -> Any:
    """Return lists and dicts of JSON types with every text safe to show, except keys."""
    if isinstance(value, dict):
        return {key: shown_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown_values(each) for each in value]
    return shown(value) if isinstance(value, str) else value


def strip_colors(text: str) -> str:
    """Remove the color sequences of a terminal, which messages of other packages may contain."""
    return _COLORS.sub("", text)


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it literally, on one line."""
    return _MARKDOWN_BLOCK.sub(r"\1\\", _MARKDOWN.sub(r"\\\g<0>", shown(text)))


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV that no spreadsheet reads as a formula."""
    text = shown(text)
    return f"'{text}" if _FORMULA.match(text) else text


def _shown_character(character: str) -> str:
    if character.isprintable() and not _BLANKS.match(character):
        return character
    return character.encode("unicode_escape").decode("ascii")
