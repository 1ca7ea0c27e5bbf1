"""Errors that a user can act on; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def one_line(
    error: BaseException | str, limit: int | None = None, *, with_class: bool = False
) -> str:
    """What went wrong, in one line.

    Args:
        error: of the system's errors, what it says and with which file; of others their message,
            or the name of their class where they have none.
        limit: most characters of it.
        with_class: begin with the error's class: for what isn't ours, and may have any message.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    if not isinstance(error, str):
        name = type(error).__name__
        text = f"{name}: {text}" if with_class else text.strip() or name
    return " ".join(text.split())[:limit]


def resume_hint(run: Path | str) -> str:
    """What goes on with a search, as the end of a message."""
    return f"go on with `dgkd-search --resume {shlex.quote(str(run))}`"


class DgkdError(Exception):
    """A failure with a one-line explanation; the command line prints it without a traceback."""

    exit_code = 1


class InputError(DgkdError):
    """Bad input: each message names the value, the rule and the way out, on one line.

    Args:
        messages: one message, or several that were found together; a line break in a value
            that is named becomes a space.
    """

    exit_code = 2

    def __init__(self, messages: str | Sequence[str]) -> None:
        several = (messages,) if isinstance(messages, str) else messages
        self.messages = tuple(" ".join(message.splitlines()) for message in several)
        super().__init__("\n".join(self.messages))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        return type(self), (self.messages,)  # crosses process borders with its parts intact


class StageFailed(DgkdError):
    """A stage could not be trained (non-finite loss, device out of memory); its trial fails."""


class Unavailable(DgkdError):
    """Something that a trial needs is gone or damaged; another time it may be there."""


class Stopped(DgkdError):
    """The user interrupted the search; what is finished is kept."""

    exit_code = 130
