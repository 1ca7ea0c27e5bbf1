"""Ray, started privately and quietly, and Tune, run around a conductor."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dgkd_search.config import Resources
from dgkd_search.errors import InputError
from dgkd_search.identity import StageSpec
from dgkd_search.tune.conductor import Conductor

_OBJECT_STORE = 100 * 2**20  # bytes; trials pass files, not objects

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "0",
}
_BEHAVIOUR = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A stopped trial may first finish an epoch; Tune's 2 seconds would fail the next trial.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Without a GPU request a worker sees every GPU: the CPU's trials must not touch them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


@contextlib.contextmanager
def ray_session(resources: Resources) -> Iterator[Path]:
    """Ray, on this machine alone or connected to a cluster, for the time of a search.

    On one machine every listener is on 127.0.0.1, behind a token that only this user can read.
    ``ray`` is first imported here, after the settings that it reads at import.

    Yields:
        A private temporary folder, short enough for socket paths, gone at the end.

    Raises:
        InputError: the cluster can't be reached, or lacks what a trial asks for.
    """
    # /tmp rather than $TMPDIR: Ray's socket paths are limited to 107 bytes.
    base = "/tmp" if Path("/tmp").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="dgkd-", dir=base))
    local = resources.address is None
    settings = _QUIET | _BEHAVIOUR
    if local:
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        settings |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
    os.environ.update(settings)
    import ray

    for name in ("ray", "ray.tune", "ray.train", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    arguments: dict[str, Any] = (
        {
            "address": "local",
            "num_cpus": resources.concurrency * resources.cpus_per_trial,
            "object_store_memory": _OBJECT_STORE,
            "_temp_dir": str(folder),
        }
        if local
        else {"address": resources.address}
    )
    try:
        try:
            ray.init(
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **arguments,
            )
        except (ConnectionError, ValueError) as error:
            if local:
                raise
            raise InputError(
                f"--address {resources.address}: no Ray cluster answers "
                f"({' '.join(str(error).split())[:120]}); start one with `ray start --head`"
            ) from None
        _check_cluster(resources, ray.cluster_resources())
        yield folder
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def run_tune(
    conductor: Conductor,
    make_job: Callable[[tuple[StageSpec, ...]], str],
    resources: Resources,
    folder: Path,
    interruption: Interruption,
) -> None:
    """Schedule the conductor's jobs until it is over. Tune's own records are thrown away.

    Raises:
        KeyboardInterrupt: between two steps of Tune, if ``interruption`` has noted a signal.
    """
    from ray import tune

    from dgkd_search.tune.adapters import ConductorScheduler, ConductorSearcher, StepHook
    from dgkd_search.tune.trainable import train_trial

    share: dict[str, float] = {"cpu": resources.cpus_per_trial}
    if resources.gpus_per_trial:
        share["gpu"] = resources.gpus_per_trial
    tuner = tune.Tuner(
        tune.with_resources(train_trial, share),
        tune_config=tune.TuneConfig(
            search_alg=ConductorSearcher(conductor, make_job),
            scheduler=ConductorScheduler(conductor),
            num_samples=-1,
            max_concurrent_trials=resources.concurrency,
            reuse_actors=True,  # a fresh one imports torch for seconds
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(folder / "tune"),
            failure_config=tune.FailureConfig(max_failures=2),
            callbacks=[StepHook(interruption.check)],
            verbose=0,
        ),
    )
    tuner.fit()


class Interruption:
    """SIGINT and SIGTERM, noted until a point where nothing is half done.

    Raised where it comes, an interrupt could hit a write to the study. A second one is raised at
    once: whoever asks twice wants out.
    """

    def __init__(self) -> None:
        self._requested = False

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if a signal has come."""
        if self._requested:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of signals; only in the main thread, where Python delivers them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _check_cluster(resources: Resources, available: dict[str, float]) -> None:
    gpus = available.get("GPU", 0)
    if resources.gpus_per_trial > gpus:
        raise InputError(
            f"--gpus-per-trial {resources.gpus_per_trial:g}: the cluster has {gpus:g} GPUs; "
            "give at most that many"
        )
    if resources.cpus_per_trial > available.get("CPU", 0):
        raise InputError(
            f"--cpus-per-trial {resources.cpus_per_trial}: the cluster has "
            f"{available.get('CPU', 0):g} CPUs; give at most that many"
        )
