from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.progress import progress

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import (
    SearchFinished,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.trackers import TrackerCallback, make_tracker
from dgkd_search.cli.main import main
from dgkd_search.distillation.progress import ProgressEvent, TrialProgress
from dgkd_search.errors import InputError

JOB = TrialInfo(3, ("resnet20", "resnet14", "resnet8"), "dense", 0.25)
AGAIN = TrialInfo(3, JOB.chain, "dense", 0.25, replicate=2)
ALONE = TrialInfo(None, ("resnet8",), "none", None)


def row(
    stage: str,
    epoch: int,
    accuracy: float | None,
    event: ProgressEvent = "epoch",
    loss: float = 0.5,
) -> TrialProgress:
    return progress(
        epoch, accuracy, event=event, stage=stage, position=0, stages=3, epochs=5, loss=loss
    )


def watch(observer: Callback) -> None:
    observer.notify(TrialStarted(ALONE))
    observer.notify(TrialStarted(JOB))
    observer.notify(TrialStarted(JOB))  # started again after losing its worker
    observer.notify(TrialUpdated(JOB, row("resnet20", 2, 90.0, event="replayed")))
    observer.notify(TrialUpdated(JOB, row("resnet14", 0, None, event="waiting")))
    observer.notify(TrialUpdated(JOB, row("resnet8", 1, 60.0)))
    observer.notify(TrialUpdated(JOB, row("resnet8", 2, 70.5)))
    observer.notify(TrialEnded(JOB, "pruned", 70.5, None))
    observer.notify(TrialUpdated(JOB, row("resnet8", 3, 71.0)))  # late
    observer.notify(TrialStarted(AGAIN))
    observer.notify(SearchFinished())
    observer.notify(SearchFinished())


class Kept:
    """A tracker that records its calls."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, name: str, parameters: Mapping[str, Any]) -> SimpleNamespace:
        self.told.append(("begin", name, dict(parameters)))
        return SimpleNamespace(
            log=lambda *said: self.told.append((name, *said)),
            end=lambda *said: self.told.append((name, *said)),
        )


def test_a_tracker_is_told_of_every_epoch_once() -> None:
    kept = Kept()
    watch(TrackerCallback(kept.begin))
    chain = {"chain": "resnet20 > resnet14 > resnet8", "assistants": 1}
    assert kept.told == [
        ("begin", "student-alone", {"chain": "resnet8", "assistants": 0, "guidance": "none"}),
        ("begin", "trial-0003", {**chain, "guidance": "dense", "drop_prob": 0.25}),
        ("trial-0003", "resnet20/val_accuracy", 90.0, 2),
        ("trial-0003", "resnet20/train_loss", 0.5, 2),
        ("trial-0003", "val_accuracy", 60.0, 1),
        ("trial-0003", "train_loss", 0.5, 1),
        ("trial-0003", "val_accuracy", 70.5, 2),
        ("trial-0003", "train_loss", 0.5, 2),
        ("trial-0003", "pruned", 70.5),
        ("begin", "trial-0003-seed-2", {**chain, "guidance": "dense", "drop_prob": 0.25}),
        ("student-alone", "stopped", None),
        ("trial-0003-seed-2", "stopped", None),
    ]


@pytest.mark.parametrize("broken", ["begin", "log", "end"])
def test_a_search_outlives_its_tracker(broken: str) -> None:
    kept = Kept()
    lines: list[str] = []

    def fail(*said: Any) -> None:
        raise ConnectionError("no\nserver")

    def begin(name: str, parameters: Mapping[str, Any]) -> Any:
        run = kept.begin(name, parameters)
        if broken == "begin":
            fail()
        setattr(run, broken, fail)
        return run

    watch(TrackerCallback(begin, lines.append))
    assert lines == [
        "--log-to: failed (ConnectionError: no server); the search continues without it"
    ]


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    watch(make_tracker("tensorboard", tmp_path, pytest.fail))
    folders = {path.name for path in (tmp_path / "tensorboard").iterdir()}
    assert folders == {"student-alone", "trial-0003", "trial-0003-seed-2"}
    (file,) = (tmp_path / "tensorboard" / "trial-0003").iterdir()
    data, scalars = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        scalars += [(v.tag, v.simple_value, event.step) for v in event.summary.value]
        data = data[16 + length :]
    assert ("val_accuracy", 70.5, 2) in scalars
    assert ("resnet20/val_accuracy", 90.0, 2) in scalars


@pytest.mark.filterwarnings("ignore")  # MLflow's own warnings
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    watch(make_tracker("mlflow", tmp_path / "first", pytest.fail))
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("first")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["trial-0003"].data.metrics["val_accuracy"] == 70.5
    assert runs["trial-0003"].data.tags["state"] == "pruned"
    assert runs["student-alone"].info.status == "KILLED"


def test_a_tracker_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dgkd_search.callbacks.trackers.find_spec", lambda name: None)
    assert main(["--log-to", "wandb", "--dry-run"]) == 2
    assert "pip install 'dgkd-search[wandb]'" in capsys.readouterr().err


def test_a_tracker_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> None:
        raise ConnectionError("no server")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=client))
    with pytest.raises(
        InputError, match=r"--log-to mlflow: can't be started \(ConnectionError: no"
    ):
        make_tracker("mlflow", tmp_path, pytest.fail)
