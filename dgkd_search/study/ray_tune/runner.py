"""Run Tune with a controller; interrupts take effect only between two steps of Tune."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dgkd_search.study.config import Resources
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.training.spec import StageSpec


class DeferredInterrupt:
    """Defers SIGINT and SIGTERM to a safe point.

    An immediate interrupt could hit a write to the study. A second signal is raised at once, so
    that a user can force the end.
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
        """Defer signals; only in the main thread, where Python delivers them."""
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


def run_tune(
    controller: SearchController,
    encode_trial: Callable[[tuple[StageSpec, ...]], str],
    resources: Resources,
    folder: Path,
) -> None:
    """Schedule the controller's trials on the connected Ray until the controller is finished.

    Args:
        encode_trial: encodes the stages of a trial for a worker.
        folder: for Tune's own files, which are not kept.

    Raises:
        KeyboardInterrupt: after SIGINT or SIGTERM, between two steps of Tune.
        Exception: an error of the controller, likewise.
    """
    from ray import tune

    from dgkd_search.study.ray_tune.adapters import (
        DeferredError,
        NullReporter,
        StepHook,
        StudyScheduler,
        StudySearcher,
    )
    from dgkd_search.study.ray_tune.trainable import train_trial

    interruption, alarm = DeferredInterrupt(), DeferredError()
    share: dict[str, float] = {"cpu": resources.cpus_per_trial}
    if resources.gpus_per_trial:
        share["gpu"] = resources.gpus_per_trial
    tuner = tune.Tuner(
        tune.with_resources(train_trial, share),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(controller, encode_trial, alarm),
            scheduler=StudyScheduler(controller, alarm),
            num_samples=-1,
            max_concurrent_trials=resources.concurrency,
            reuse_actors=True,  # a new actor takes seconds to import torch
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(folder / "tune"),
            callbacks=[StepHook(interruption.check), StepHook(alarm.check)],
            progress_reporter=NullReporter(),
            verbose=0,
        ),
    )
    with interruption.listening():
        tuner.fit()
    alarm.check()
