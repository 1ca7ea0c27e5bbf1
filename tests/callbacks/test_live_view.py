from __future__ import annotations

import io
import re

import pytest
from helpers.screens import Clock, busy, view
from rich.console import Console


def test_view_at_120_columns(clock: Clock) -> None:
    assert view(busy(clock), 120) == [
        "6 of 20 trials (2 pruned, 1 failed) · best 97.56 % resnet32 > resnet20 > resnet8",
        "1:10:00 elapsed, about 2 h 43 min left · stages: 1 trained, 1 cached",
        "#7 resnet32 > resnet20 > resnet8                         "
        "epoch 3/12             95.12 %  ━━━────────────",
        "#8 resnet110 > resnet56 > resnet32 > resnet20 > resnet8  waiting for resnet20",
        "labels alone resnet8                                     queued",
    ]


def test_view_at_60_columns_keeps_the_current_model(clock: Clock) -> None:
    assert view(busy(clock), 60) == [
        "6 of 20 trials (2 pruned, 1 failed)",
        "best 97.56 % resnet32 > resnet20 > resnet8",
        "1:10:00 elapsed, about 2 h 43 min left",
        "stages: 1 trained, 1 cached",
        "#7 … resnet20 > re…  epoch 3/12             95.12 %  ━──────",
        "#8 … resnet20 > re…  waiting for resnet20",
        "labels alone resne…  queued",
    ]


def test_view_at_40_columns_drops_the_bar(clock: Clock) -> None:
    assert view(busy(clock), 40) == [
        "6 of 20 trials (2 pruned, 1 failed)",
        "best 97.56 % resnet32 > resnet20 > resn…",
        "1:10:00 elapsed, about 2 h 43 min left",
        "stages: 1 trained, 1 cached",
        "#7 … resnet20 …  epoch 3/12      95.12 %",
        "#8 … resnet20 …  waiting for …",
        "labels alone r…  queued",
    ]


@pytest.mark.parametrize("width", [1, 2, 5, 11, 20, 39])
def test_view_on_absurdly_narrow_terminals(clock: Clock, width: int) -> None:
    lines = view(busy(clock), width)  # checks their lengths
    assert len(lines) == 7
    assert "%" not in "".join(lines[4:])


def test_current_model_is_emphasized(clock: Clock) -> None:
    out = io.StringIO()
    progress = busy(clock)
    Console(file=out, force_terminal=True, width=120, color_system="standard").print(progress)
    assert re.findall(r"\x1b\[1;36m([^\x1b]*)", out.getvalue()) == ["resnet20", "resnet20"]
