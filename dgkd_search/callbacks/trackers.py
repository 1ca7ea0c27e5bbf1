"""Logging of trials to an experiment tracker: TensorBoard, MLflow or W&B."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dgkd_search.callbacks.base import Callback, arrows
from dgkd_search.callbacks.events import (
    Event,
    SearchFinished,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.errors import InputError, one_line
from dgkd_search.errors.shown import escape_markdown, shown
from dgkd_search.utils.log import Log, silent

_FOLDER = "tensorboard"  # in the run folder
# MLflow rejects other characters in the name of a metric, and TensorBoard replaces them. Letters of
# other scripts are allowed, as in names of Python.
_UNUSUAL = re.compile(r"[^\w.\-]")


class TrackerRun(Protocol):
    """One trial in a tracker."""

    def log(self, name: str, value: float, step: int) -> None:
        """Log a number after an epoch, which is ``step``."""

    def end(self, state: str, value: float | None) -> None:
        """End the run.

        Args:
            state: ``complete``, ``pruned``, ``failed`` or ``stopped``.
            value: validation accuracy in percent, or None.
        """


_T = TypeVar("_T")
Begin = Callable[[str, Mapping[str, object]], TrackerRun]  # name and parameters of a trial


class TrackerCallback(Callback):
    """Logs every trial to a tracker.

    It logs ``val_accuracy`` (percent) and ``train_loss`` of the student after each epoch, and of
    each larger model with its name as a prefix, as in ``resnet20/val_accuracy``. If the tracker
    fails, the search continues without it.

    Args:
        begin: creates the tracker's run for a trial.
        log: is called with a line if the tracker fails.
    """

    def __init__(self, begin: Begin, log: Log = silent) -> None:
        self._begin, self._log = begin, log
        self._runs: dict[TrialInfo, TrackerRun] = {}
        self._failed = False

    def notify(self, event: Event) -> None:
        match event:
            case TrialStarted(trial):
                if trial in self._runs:  # restarted after its worker was lost
                    return
                run = self._try(lambda: self._begin(_name(trial), _parameters(trial)))
                if run is not None:
                    self._runs[trial] = run
            case TrialUpdated(trial, progress):
                self._log_progress(trial, progress)
            case TrialEnded(trial, state, value):
                self._end(trial, state, value)
            case SearchFinished():
                for trial in [*self._runs]:
                    self._end(trial, "stopped", None)

    def _log_progress(self, trial: TrialInfo, progress: TrialProgress) -> None:
        run = self._runs.get(trial)
        if run is None or progress.event in ("waiting", "resumed"):
            return
        own = progress.stage == trial.chain[-1]
        prefix = "" if own else _UNUSUAL.sub("_", progress.stage) + "/"
        values = ("val_accuracy", progress.val_accuracy), ("train_loss", progress.train_loss)
        for name, value in values:
            if value is not None:
                self._try(partial(run.log, prefix + name, value, progress.epoch))

    def _end(self, trial: TrialInfo, state: str, value: float | None) -> None:
        run = self._runs.pop(trial, None)
        if run is not None:
            self._try(partial(run.end, state, value))

    def _try(self, action: Callable[[], _T]) -> _T | None:
        if self._failed:
            return None
        try:
            return action()
        except Exception as error:  # trackers raise errors of disks, servers and accounts
            self._failed = True
            self._log(f"--log-to: failed ({_why(error)}); the search continues without it")
            return None


def missing_trackers(names: Iterable[str]) -> list[str]:
    """Return a message for each tracker whose package isn't installed."""
    return [
        f"--log-to {name}: {package} is not installed; pip install 'dgkd-search[{name}]'"
        for name, (package, _) in ((name, _TRACKERS[name]) for name in names)
        if find_spec(package) is None
    ]


def make_tracker(name: str, run: Path, log: Log) -> Callback:
    """Create a callback that logs to a tracker.

    Args:
        name: one of ``TRACKERS``.
        run: the run folder. TensorBoard writes to it; MLflow names the experiment, and W&B the
            group, after it.
        log: is called with a line if the tracker fails later.

    Raises:
        InputError: the tracker's package isn't installed, or the tracker can't be reached.
    """
    package, begin = _TRACKERS[name]
    try:
        return TrackerCallback(begin(importlib.import_module(package), run), log)
    except Exception as error:
        raise InputError(f"--log-to {name}: can't be started ({_why(error)})") from None


def _why(error: Exception) -> str:
    return one_line(error, 200, with_class=True)


def _tensorboard(module: Any, run: Path) -> Begin:
    class Writer:
        def __init__(self, name: str, parameters: Mapping[str, object]) -> None:
            self._writer = module.SummaryWriter(str(run / _FOLDER / name))
            chain = escape_markdown(str(parameters["chain"]))  # it is shown as Markdown
            self._writer.add_text("chain", chain)

        def log(self, name: str, value: float, step: int) -> None:
            self._writer.add_scalar(name, value, step)

        def end(self, state: str, value: float | None) -> None:
            self._writer.add_text("state", state)
            self._writer.close()

    return Writer


def _mlflow(module: Any, run: Path) -> Begin:
    client = module.MlflowClient()
    name = shown(run.resolve().name)
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)

    class Tracking:
        def __init__(self, name: str, parameters: Mapping[str, object]) -> None:
            self._id = client.create_run(experiment, run_name=name).info.run_id
            for key, value in parameters.items():
                client.log_param(self._id, key, value)

        def log(self, name: str, value: float, step: int) -> None:
            client.log_metric(self._id, name, value, step=step)

        def end(self, state: str, value: float | None) -> None:
            client.set_tag(self._id, "state", state)
            status = {"failed": "FAILED", "stopped": "KILLED"}.get(state, "FINISHED")
            client.set_terminated(self._id, status)

    return Tracking


def _wandb(module: Any, run: Path) -> Begin:
    class Logged:
        def __init__(self, name: str, parameters: Mapping[str, object]) -> None:
            self._run = module.init(
                project="dgkd-search",
                group=shown(run.resolve().name),
                name=name,
                config=dict(parameters),
                dir=str(run),
                reinit="create_new",
                settings=module.Settings(silent=True),
            )

        def log(self, name: str, value: float, step: int) -> None:
            self._run.log({name: value, "epoch": step})

        def end(self, state: str, value: float | None) -> None:
            self._run.summary["state"] = state
            self._run.finish(exit_code=int(state == "failed"))

    return Logged


def _name(trial: TrialInfo) -> str:
    stem = "student-alone" if trial.number is None else f"trial-{trial.number:04d}"
    return f"{stem}-seed-{trial.replicate}" if trial.replicate else stem


def _parameters(trial: TrialInfo) -> dict[str, object]:
    values: dict[str, object] = {
        "chain": arrows(trial.chain),
        "assistants": max(0, len(trial.chain) - 2),
        "guidance": trial.guidance,
    }
    if trial.drop_prob is not None:
        values["drop_prob"] = trial.drop_prob
    return values


# By name: the package, and the function that returns the tracker's ``Begin``.
_TRACKERS: dict[str, tuple[str, Callable[[Any, Path], Begin]]] = {
    "tensorboard": ("tensorboardX", _tensorboard),
    "mlflow": ("mlflow", _mlflow),
    "wandb": ("wandb", _wandb),
}
TRACKERS = tuple(_TRACKERS)
