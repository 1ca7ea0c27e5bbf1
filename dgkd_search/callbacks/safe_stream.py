"""A stream whose reader may leave, or may not know every character."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

# What the live view draws with, for streams that can't say it; one column each, like the original.
_ASCII = str.maketrans({"…": "~", "━": "#", "─": "-", "·": "|"})


class SafeStream:
    """A stream that never fails: gone readers are forgotten, odd characters replaced."""

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
        # A search must outlive whoever watches it: a closed pipe, terminal (EIO) or file.
        if not self._gone:
            try:
                action()
            except (OSError, ValueError):
                self._gone = True
