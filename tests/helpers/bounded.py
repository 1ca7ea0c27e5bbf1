"""Bounds of time and memory for readers of files that others may have written."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

_SECONDS = 10
_KILOBYTES = 2**20  # one GiB
_ADDRESSES = 2**33  # bytes; far above the bound, so that what exceeds it is noticed


class OutOfBounds(BaseException):
    """A reader took too long or too much memory; no ``except Exception`` catches this."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail after ten seconds, even while the system waits for a pipe, and above one GiB more.

    A reader of an endless file gets a ``MemoryError`` before it takes the memory of the machine.

    Raises:
        OutOfBounds: the time or the memory was exceeded.
    """

    def stop(number: int, frame: object) -> None:
        raise OutOfBounds(f"still reading after {_SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + _ADDRESSES
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of earlier tests
    lowest = _peak()
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if (grown := _peak() - lowest) > _KILOBYTES:
            raise OutOfBounds(f"took {grown} kB more")


def _peak() -> int:
    """Return the most memory that this process has had since its peak was forgotten, in kB."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    return int(line.split()[1])
