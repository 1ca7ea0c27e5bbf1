from __future__ import annotations

import io
import re

from helpers.screens import ENDS, Clock, play

from dgkd_search.callbacks.lines import LineProgress


def test_line_progress(clock: Clock) -> None:
    out = io.StringIO()
    play(LineProgress(out, clock=clock, now=lambda: "12:34:56"), clock)
    assert out.getvalue().splitlines() == [
        f"12:34:56 {line}"
        for line in [
            "preparing the data [bold]λ",
            "labels alone resnet8 (1 of 1): training",
            ENDS[0],
            "#7 resnet32 (1 of 3): cached",
            "#7 resnet20 (2 of 3): waiting for another trial to train it",
            "#7 resnet8 (3 of 3): training",
            ENDS[1] + "  [1 of 3, about 1 min left]",
            ENDS[2] + "  [1 of 3, about 1 min left]",
            ENDS[3] + "  [2 of 3, best 97.56 %, about 20 s left]",
            "two",
            "lines",
        ]
    ]


def test_line_progress_flushes_each_line_with_the_time_of_day() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    LineProgress(stream).log("λ = 1")
    assert re.fullmatch(rb"\d\d:\d\d:\d\d \\u03bb = 1\n", raw.getvalue())
