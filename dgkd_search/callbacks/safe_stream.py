"""A stream for readers that may end, or whose encoding may lack characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

# Substitutes for the characters of the live view; each takes one column, as the original does.
_ASCII = str.maketrans({"…": "~", "━": "#", "─": "-", "·": "|"})


class SafeStream:
    """A stream that never fails: it ignores a closed stream and replaces unknown characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII).encode(self.encoding, "replace").decode(self.encoding)
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _try(self, action: Callable[[], object]) -> None:
        # A closed pipe, terminal (EIO) or file must not end a search.
        if not self._gone:
            try:
                action()
            except (OSError, ValueError):
                self._gone = True
