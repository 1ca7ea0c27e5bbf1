"""What trials report, told to a tracker that the user has: TensorBoard, MLflow or W&B."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dgkd_search.errors import InputError
from dgkd_search.observer import Job, Observer
from dgkd_search.rows import Row

_FOLDER = "tensorboard"  # in the run folder


class Run(Protocol):
    """One trial in a tracker."""

    def log(self, name: str, value: float, step: int) -> None:
        """A number after an epoch."""

    def end(self, state: str, value: float | None) -> None:
        """``complete``, ``pruned``, ``failed`` or ``stopped``; accuracy in percent."""


_T = TypeVar("_T")
Begin = Callable[[str, Mapping[str, Any]], Run]  # name and parameters of a trial


class Tracked(Observer):
    """Tells a tracker of every trial: ``val_accuracy`` (percent) and ``train_loss`` of its student
    by epoch, and of each model above it under its name, as ``resnet20/val_accuracy``.

    A search outlives its trackers: one that fails is told of once, and left.

    Args:
        begin: makes the tracker's run for a trial.
        tell: is given a line if it fails.
    """

    def __init__(self, begin: Begin, tell: Callable[[str], object] = lambda text: None) -> None:
        self._begin, self._tell = begin, tell
        self._runs: dict[Job, Run] = {}
        self._failed = False

    def job_started(self, job: Job) -> None:
        if job in self._runs:  # begun anew, after its worker was lost
            return
        run = self._try(lambda: self._begin(_name(job), _parameters(job)))
        if run is not None:
            self._runs[job] = run

    def row(self, job: Job, row: Row) -> None:
        run = self._runs.get(job)
        if run is None or row.event in ("waiting", "resumed"):
            return
        prefix = "" if row.stage == job.chain[-1] else f"{row.stage}/"
        for name, value in (("val_accuracy", row.val_accuracy), ("train_loss", row.train_loss)):
            if value is not None:
                self._try(partial(run.log, prefix + name, value, row.epoch))

    def job_ended(self, job: Job, state: str, value: float | None, reason: str | None) -> None:
        run = self._runs.pop(job, None)
        if run is not None:
            self._try(lambda: run.end(state, value))

    def finished(self) -> None:
        for job in [*self._runs]:
            self.job_ended(job, "stopped", None, None)

    def _try(self, action: Callable[[], _T]) -> _T | None:
        if self._failed:
            return None
        try:
            return action()
        except Exception as error:  # whatever a tracker raises of disks, servers and accounts
            self._failed = True
            self._tell(f"--log-to: given up ({_why(error)}); the search goes on")
            return None


_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


def missing_trackers(names: Iterable[str]) -> list[str]:
    """A message for each whose package isn't installed."""
    return [
        f"--log-to {name}: {_PACKAGES[name]} is not installed; pip install 'dgkd-search[{name}]'"
        for name in names
        if find_spec(_PACKAGES[name]) is None
    ]


def make_tracker(name: str, run: Path, tell: Callable[[str], object]) -> Observer:
    """An observer that tells a tracker.

    Args:
        name: one of ``TRACKERS``.
        run: folder of the search; TensorBoard's files lie in it, and its name is the project's
            or experiment's.
        tell: is given a line if it fails later.

    Raises:
        InputError: it can't be begun: its package isn't installed, or it can't be reached.
    """
    makers = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    try:
        return Tracked(makers[name](importlib.import_module(_PACKAGES[name]), run), tell)
    except Exception as error:
        raise InputError(f"--log-to {name}: can't be begun ({_why(error)})") from None


def _why(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _tensorboard(module: Any, run: Path) -> Begin:
    class Writer:
        def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
            self._writer = module.SummaryWriter(str(run / _FOLDER / name))
            self._writer.add_text("chain", str(parameters["chain"]))

        def log(self, name: str, value: float, step: int) -> None:
            self._writer.add_scalar(name, value, step)

        def end(self, state: str, value: float | None) -> None:
            self._writer.add_text("state", state)
            self._writer.close()

    return Writer


def _mlflow(module: Any, run: Path) -> Begin:
    client = module.MlflowClient()
    found = client.get_experiment_by_name(run.resolve().name)
    experiment = found.experiment_id if found else client.create_experiment(run.resolve().name)

    class Tracking:
        def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
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
        def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
            self._run = module.init(
                project="dgkd-search",
                group=run.resolve().name,
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


def _name(job: Job) -> str:
    stem = "student-alone" if job.number is None else f"trial-{job.number:04d}"
    return f"{stem}-seed-{job.replicate}" if job.replicate else stem


def _parameters(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = {
        "chain": " > ".join(job.chain),
        "assistants": max(0, len(job.chain) - 2),
        "guidance": job.guidance,
    }
    if job.drop_prob is not None:
        found["drop_prob"] = job.drop_prob
    return found
