"""Where a process and all that it has started listen, read from Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# 127.0.0.1, the same inside IPv6, and ::1, as the kernel writes them.
LOOPBACK = ("0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000")
_LISTEN = "0A"


def process_tree(root: int) -> list[int]:
    """A process and its descendants; other tests' processes are not among them."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])

    def descends(pid: int) -> bool:
        while pid in parents and pid != root:
            pid = parents[pid]
        return pid == root

    return [pid for pid in parents if descends(pid)]


def listening(root: int) -> set[str]:
    """Addresses (in the kernel's notation, without ports) where the process tree listens."""
    sockets: set[str] = set()
    for pid in process_tree(root):
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(path.readlink()))
    addresses: set[str] = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].split(":")[0])
    return addresses


def token_modes(root: int) -> set[tuple[int, int]]:
    """Permissions of Ray's token file and of its folder, of all processes that use one."""
    modes: set[tuple[int, int]] = set()
    for pid in process_tree(root):
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                name, _, value = entry.partition(b"=")
                if name == b"RAY_AUTH_TOKEN_PATH":
                    token = Path(os.fsdecode(value))
                    modes.add((token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777))
    return modes


@dataclass
class Observed:
    """Everything that was seen while a process ran."""

    addresses: set[str] = field(default_factory=set)
    token_modes: set[tuple[int, int]] = field(default_factory=set)


@contextlib.contextmanager
def observe(root: int) -> Iterator[Observed]:
    """Look at a process tree twice a second until the end of the block."""
    observed, ended = Observed(), threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            observed.addresses.update(listening(root))
            observed.token_modes.update(token_modes(root))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield observed
    finally:
        ended.set()
        thread.join()
