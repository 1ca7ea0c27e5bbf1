"""Worker processes that start safely from a process with threads, and leave no trace.

They are forked from a server that has one thread and has never seen a GPU. Forked from a trial they
would inherit locks that a thread of Ray's may hold at that moment, and wait for them forever;
spawned, each would import torch for seconds, every epoch.
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
    """Start the server, once a process, with a module that workers need already imported.

    Raises:
        OSError, EOFError: it can't be started.
    """
    multiprocessing.set_forkserver_preload([module])
    # It inherits the mask, and its workers do: an interrupt from the keyboard reaches every process
    # of the terminal, and they would each print a traceback. The tracker comes first, because
    # starting it lets the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # Waits for the import with a process that has nothing to lose: a worker, interrupted while it
    # starts, finds its queues gone and says so.
    first = WorkerProcess(target=os.getpid, daemon=True)
    first.start()
    first.join()


def prepare_worker(number: int) -> None:
    """To be called in a new worker: it prints nothing, and ends with whom it works for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where others had started the server
    warnings.simplefilter("ignore")  # each would tell of the same odd images, every epoch
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # If the parent is killed, nobody reads a pipe any more that the worker may be writing to, and a
    # DataLoader's own watch sees the server alone, which lives as long as its workers.
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


_starting = threading.Lock()


class WorkerProcess(context.ForkServerProcess):
    """A process that doesn't import the caller's main module.

    Python would have every worker run it, for what is defined there; workers need nothing of it. In
    a Ray worker it imports Ray, and a script that trains without asking for its ``__name__`` would
    train again in every worker, and wait there for the lock that it holds itself.
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
    """What a DataLoader takes as its ``multiprocessing_context``."""

    Process: ClassVar[Any] = WorkerProcess
