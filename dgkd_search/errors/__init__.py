"""Errors that a user can act on; any other exception is a bug and keeps its traceback."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from dgkd_search.errors.shown import shown, strip_colors

_LONGEST = 2000  # characters of a message


def one_line(
    error: BaseException | str, limit: int | None = None, *, with_class: bool = False
) -> str:
    """Describe an error in one line that is safe to show.

    Args:
        error: an ``OSError`` is described by its reason and file, any other error by its message,
            or by its class if the message is empty.
        limit: largest number of characters.
        with_class: whether to begin with the error's class, for errors of other packages.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        # A failed rename has a second file: its target, where the first is a temporary name.
        file = error.filename2 or error.filename
        text = f"{error.strerror} ({file})" if file else error.strerror
    if not isinstance(error, str):
        name = type(error).__name__
        text = f"{name}: {text}" if with_class else text.strip() or name
    return shown(" ".join(strip_colors(text).split()))[:limit]


def resume_hint(run: Path | str) -> str:
    """Return the end of a message that says how to resume a search."""
    return f"resume with `dgkd-search --resume {shlex.quote(str(run))}`"


class DgkdError(Exception):
    """An error with a one-line message; the command line prints it without a traceback."""

    exit_code = 1


class InputError(DgkdError):
    """Invalid input; each message states the value, the rule and a remedy in one line.

    Args:
        messages: one message, or several; line breaks in them become spaces, and other characters
            that aren't safe to show become escapes.
    """

    exit_code = 2

    def __init__(self, messages: str | Sequence[str]) -> None:
        several = (messages,) if isinstance(messages, str) else messages
        self.messages = tuple(_shorten(shown(" ".join(m.splitlines()))) for m in several)
        super().__init__("\n".join(self.messages))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        return type(self), (self.messages,)  # pickling keeps the messages separate


def _shorten(message: str) -> str:
    """Leave out the middle of a long message, which repeats a value; a way out is at the end."""
    if len(message) <= _LONGEST:
        return message
    return f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"


class StageFailed(DgkdError):
    """A stage could not be trained (non-finite loss, device out of memory); its trial fails."""


class Unavailable(DgkdError):
    """A resource of a trial is missing or damaged; the trial may succeed later."""


class Stopped(DgkdError):
    """The user interrupted the search; finished work is kept."""

    exit_code = 130
