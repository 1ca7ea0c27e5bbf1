"""A stream for readers that may end, or whose encoding may lack characters."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable
from typing import TextIO

# Substitutes for the characters of the live view; each takes one column, as the original does.
_ASCII = str.maketrans({"…": "~", "━": "#", "─": "-", "·": "|"})
_WORDS = {"±": "+-", "×": "x", "…": "...", "·": "-", "\N{EN DASH}": "-"}
_READABLE = "dgkd-search-readable"  # name of an error handler for streams


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by ASCII, most of them by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escapes = (_WORDS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(escapes), error.end


codecs.register_error(_READABLE, _substitute)


def make_safe(stream: TextIO | None) -> None:
    """Let a stream of this process escape characters that its encoding lacks, instead of failing.

    Streams that can't be changed stay as they are.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            reconfigure(errors=_READABLE)


class SafeStream:
    """A stream that never fails: it ignores a closed stream and replaces unknown characters.

    Args:
        keep_width: whether a replacement is one column wide, for a view that is redrawn in place;
            otherwise it is an escape.
    """

    def __init__(self, stream: TextIO, *, keep_width: bool = False) -> None:
        self._stream = stream
        self._keep_width = keep_width
        self._gone = False
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            if self._keep_width:
                encoded = text.translate(_ASCII).encode(self.encoding, "replace")
            else:
                encoded = text.encode(self.encoding, _READABLE)
            text = encoded.decode(self.encoding)
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
