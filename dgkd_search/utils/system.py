"""Resources of the machine that this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of CPU cores available to this process, which Slurm or taskset limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
