"""Resources of the machine that this process may use."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_MEMORY = Path("/proc/meminfo")
# Limit and use of the control group of a container, in versions 2 and 1.
_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def cores() -> int:
    """Return the number of CPU cores available to this process, which Slurm or taskset limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes of memory that are free or can be freed; None if unknown (not on Linux)."""
    known: list[int] = []
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMORY.read_text(), re.MULTILINE)
        known += [1024 * int(found[1])] if found else []
    for limit, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # without a limit the file says "max"
            known.append(max(0, int(limit.read_text()) - int(used.read_text())))
    return min(known, default=None)
