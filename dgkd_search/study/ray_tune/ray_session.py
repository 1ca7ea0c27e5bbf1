"""Start a private Ray on this machine, or connect to an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock

from dgkd_search.errors import DgkdError, one_line
from dgkd_search.study.config import Resources
from dgkd_search.study.ray_tune import private_api
from dgkd_search.study.ray_tune.cluster import (
    check_nodes,
    check_reachable,
    join_error,
)

_OBJECT_STORE = 100 * 2**20  # bytes; trials pass files, not objects
_PREFIX = "dgkd-"
_HELD = "held.lock"  # in a temporary folder, locked while its search runs
_FRESH = 60.0  # seconds between the creation of a lock file and its locking, at most

_DRIVER = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
# A stopped trial frees its memory first; with Tune's limit of 2 seconds the next trial would fail.
_WORKER = {
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # Workers stay in the folder of the search, where own modules may read files by relative paths.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@contextlib.contextmanager
def ray_session(resources: Resources) -> Iterator[Path]:
    """Run Ray on this machine, or connect to a cluster, for the time of a search.

    On one machine, Ray listens only on 127.0.0.1 and requires a token that only this user can read.
    ``ray`` is imported here, after the environment variables that it reads at import are set.
    Environment and signal handlers are restored at the end.

    Yields:
        A private temporary folder, removed at the end.

    Raises:
        InputError: the cluster can't be reached, or no node has the resources of a trial.
        DgkdError: this process uses Ray already, or Ray doesn't start.
    """
    if resources.address is not None:
        check_reachable(resources.address)
    # /tmp rather than $TMPDIR: Ray's socket paths are limited to 107 bytes.
    parent = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir())
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    held = FileLock(folder / _HELD, timeout=0)
    held.acquire()
    settings = _DRIVER | _WORKER
    if resources.address is None:
        settings |= _private(folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # In a notebook, importing ``ray`` logs a hint about widgets, which are not used here.
    logging.getLogger("ray.widgets").setLevel(logging.CRITICAL)
    with _environment(settings):
        import ray

        if ray.is_initialized():
            raise DgkdError("this process has started Ray itself; call ray.shutdown() first")
        for name in private_api.LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            # Ray's start is mostly waiting for processes, so imports can run in parallel.
            with ThreadPoolExecutor(1) as beside:
                beside.submit(import_module, "dgkd_search.study.ray_tune.adapters")
                _connect(resources, folder)
            _set(handlers)  # Ray's own handlers would end the process
            check_nodes(resources, ray.nodes())
            with contextlib.ExitStack() as stack:
                stack.enter_context(private_api.silent_raylets())
                if resources.address is None:
                    # Workers inherit the driver's environment; this saves 2 s at a trial's start.
                    stack.enter_context(private_api.no_environment_of_actors())
                yield folder
        finally:
            with _undisturbed(handlers):
                ray.shutdown()
                held.release()
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _undisturbed(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Defer signals while Ray shuts down.

    Args:
        handlers: signal handlers to restore afterwards.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came meanwhile.
    """
    came: list[int] = []
    noting = dict.fromkeys(handlers, lambda number, frame: came.append(number))
    _set(noting)
    # Ray's core resets the SIGTERM handler just before, and ending its processes takes seconds.
    private_api.before_processes_end(lambda: _set(noting))
    try:
        yield
    finally:
        _set(handlers)
    if came:
        raise KeyboardInterrupt


def _set(handlers: Mapping[signal.Signals, Any]) -> None:
    """Set signal handlers; outside the main thread, where Python forbids it, do nothing."""
    with contextlib.suppress(ValueError):
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _sweep(parent: Path) -> None:
    """Remove temporary folders of killed searches of this user."""
    for left in parent.glob(f"{_PREFIX}*"):
        held = left / _HELD
        with contextlib.suppress(OSError):  # locked (a TimeoutError), gone, or another user's
            if time.time() - held.stat().st_mtime > _FRESH and left.stat().st_uid == os.getuid():
                with FileLock(held, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)


def _private(folder: Path) -> dict[str, str]:
    """Return settings of a private Ray: listeners on 127.0.0.1, authentication by a new token."""
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


def _connect(resources: Resources, folder: Path) -> None:
    import ray

    arguments: dict[str, Any]
    private_api.forget_token()
    if resources.address is None:
        arguments = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": resources.concurrency * resources.cpus_per_trial,
            "object_store_memory": _OBJECT_STORE,
            # Ray makes its folder readable for everybody; the parent folder stays private.
            **private_api.temp_dir(folder / "ray"),
        }
    else:
        arguments = {"address": resources.address, "runtime_env": {"env_vars": _WORKER}}
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **arguments)
    except Exception as error:  # Ray may raise anything
        if resources.address is not None:
            raise join_error(resources.address, error) from None
        raise DgkdError(
            f"Ray did not start on this machine ({one_line(error, 120)}); run "
            "`dgkd-search doctor`, and try again when the machine is less busy"
        ) from None
    except SystemExit:  # raised by Ray on a SIGTERM during its start
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
