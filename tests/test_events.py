from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest

from dgkd_search.cli import main
from dgkd_search.events import JsonEvents
from dgkd_search.observer import Job, Observer
from dgkd_search.rows import Row

JOB = Job(3, ("resnet20", "resnet14", "resnet8"), "dense", 0.25)
ROW = Row("epoch", "resnet14", 1, 3, 2, 5, None, math.nan, 71.5)


def told() -> list[dict[str, Any]]:
    stream = io.StringIO()
    events = JsonEvents(stream, now=lambda: 12.3456)
    events.message("preparing digits")
    events.resumed({"complete": 2}, (JOB, 80.0), 60.0)
    events.started(64, 2, None)
    events.job_started(JOB)
    events.row(JOB, ROW)
    events.job_ended(JOB, "failed", math.inf, "no memory")
    events.confirming(25)
    events.finished()
    events.finished()
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]


def test_every_event_is_a_line() -> None:
    names = [event["event"] for event in told()]
    assert names == [
        *("message", "resumed", "started", "trial_started", "trial_row", "trial_ended"),
        *("confirming", "finished"),
    ], "told once that it is over"


def test_nothing_that_happens_goes_untold() -> None:
    methods = {name for name in vars(Observer) if not name.startswith("_")}
    assert methods <= set(vars(JsonEvents))


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
    events = JsonEvents(stream)
    stream.close()
    events.message("nobody listens")


def test_bad_input_is_told_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--budget", "0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dgkd-search: --budget 0: ")
