"""What this process may use of its machine."""

from __future__ import annotations

import os


def cores() -> int:
    """CPU cores that this process may use: fewer than the machine's under Slurm or taskset."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
