from __future__ import annotations

import io
import json
import math
from typing import Any, get_args

import pytest
from helpers.progress import progress

from dgkd_search.callbacks.base import Observer
from dgkd_search.callbacks.events import (
    Event,
    Message,
    ReplicationStarted,
    SearchFinished,
    SearchResumed,
    SearchStarted,
    TrialEnded,
    TrialInfo,
    TrialStarted,
    TrialUpdated,
)
from dgkd_search.callbacks.json_lines import JsonLines
from dgkd_search.cli.main import main

JOB = TrialInfo(3, ("resnet20", "resnet14", "resnet8"), "dense", 0.25)
ROW = progress(2, 71.5, stage="resnet14", stages=3, epochs=5, loss=math.nan)


EVENTS: list[Event] = [
    Message("preparing digits"),
    SearchResumed({"complete": 2}, (JOB, 80.0), 60.0),
    SearchStarted(64, 2, None),
    TrialStarted(JOB),
    TrialUpdated(JOB, ROW),
    TrialEnded(JOB, "failed", math.inf, "no memory"),
    ReplicationStarted(25),
    SearchFinished(),
]


def told() -> list[dict[str, Any]]:
    stream = io.StringIO()
    events = JsonLines(stream, now=lambda: 12.3456)
    for event in (*EVENTS, SearchFinished()):
        events.notify(event)
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]


def test_every_event_is_a_line() -> None:
    names = [event["event"] for event in told()]
    assert names == [
        *("message", "resumed", "started", "trial_started", "trial_row", "trial_ended"),
        *("confirming", "finished"),
    ], "told once that it is over"


def test_nothing_that_happens_goes_untold() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert len(told()) == len(EVENTS)


def test_an_observer_has_a_method_for_each_event() -> None:
    called: list[tuple[str, tuple[object, ...]]] = []

    class Recorder(Observer):
        def __getattribute__(self, name: str) -> Any:
            if name == "notify" or name.startswith("_"):
                return super().__getattribute__(name)
            return lambda *arguments: called.append((name, arguments))

    for event in EVENTS:
        Recorder().notify(event)
    assert called == [
        ("message", ("preparing digits",)),
        ("resumed", ({"complete": 2}, (JOB, 80.0), 60.0)),
        ("started", (64, 2, None, 0)),
        ("job_started", (JOB,)),
        ("row", (JOB, ROW)),
        ("job_ended", (JOB, "failed", math.inf, "no memory")),
        ("confirming", (25,)),
        ("finished", ()),
    ]


def test_events_carry_what_goes_with_them() -> None:
    _, resumed, started, _, row, ended, confirming, _ = told()
    assert resumed["best"]["trial"]["chain"] == [*JOB.chain]
    assert (started["budget"], started["time_budget"], started["time"]) == (64, None, 12.346)
    assert row["trial"]["number"] == 3
    assert row["row"]["val_accuracy"] == 71.5
    assert row["row"]["train_loss"] is None, "JSON has no word for NaN"
    assert (ended["val_accuracy"], ended["reason"]) == (None, "no memory")
    assert confirming["count"] == 25


def test_a_reader_that_is_gone_is_forgotten() -> None:
    stream = io.StringIO()
    events = JsonLines(stream)
    stream.close()
    events.log("nobody listens")


def test_bad_input_is_told_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--budget", "0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dgkd-search: --budget 0: ")


def test_programs_read_the_names_that_they_know() -> None:
    _, resumed, started, trial, progress, ended, *_ = told()
    info = {"number", "chain", "guidance", "drop_prob", "replicate"}
    assert trial["trial"].keys() == ended["trial"].keys() == info
    assert progress["row"].keys() == {
        *("event", "stage", "position", "stages", "epoch", "epochs"),
        *("step", "train_loss", "val_accuracy", "more"),
    }
    assert {"ended", "best", "seconds"} <= resumed.keys()
    assert {"budget", "concurrency", "time_budget", "repeats"} <= started.keys()
    assert {"state", "val_accuracy", "reason"} <= ended.keys()
