"""Worker processes that start safely from a process with threads, and end with it.

Workers are forked from a server process with one thread and without a GPU context. If they were
forked from a trial, they would inherit locks that a thread of Ray may hold, and could wait for them
forever. If they were spawned, each would import torch, which takes seconds in every epoch.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from multiprocessing import connection, context, forkserver, resource_tracker
from types import ModuleType
from typing import Any, ClassVar


@functools.cache
def start_fork_server(module: str) -> None:
    """Start the server, once per process, with a module imported that the workers need.

    Raises:
        OSError, EOFError: the server cannot be started.
    """
    multiprocessing.set_forkserver_preload([module])
    # Ctrl-C reaches every process of the terminal, and each worker would print a traceback. The
    # server and its workers inherit this mask, so they ignore it. The tracker is started first,
    # because starting it unblocks the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # Wait for the server's import with a dummy process: a real worker that is interrupted while it
    # starts would print an error about missing queues.
    first = WorkerProcess(target=os.getpid, daemon=True)
    first.start()
    first.join()


def prepare_worker(number: int) -> None:
    """Initialize a new worker: it prints nothing, and ends when its parent process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # other code may have started the server
    warnings.simplefilter("ignore")  # else every worker warns of the same images in every epoch
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # If the parent is killed, a worker may block on a pipe that nobody reads. A DataLoader's own
    # watchdog only watches the fork server, which lives as long as its workers.
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


_starting = threading.Lock()


class WorkerProcess(context.ForkServerProcess):
    """A process that does not import the caller's main module.

    Python imports the main module in every worker, but these workers need nothing from it. In a Ray
    worker it would import Ray. A script without an ``if __name__ == "__main__"`` guard would train
    again in every worker, and wait there for a lock that the script itself holds.
    """

    def start(self) -> None:
        with _starting:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class WorkerContext(context.ForkServerContext):
    """The ``multiprocessing_context`` for a DataLoader."""

    Process: ClassVar[Any] = WorkerProcess
