"""Streams that lack characters show escapes, and never fail."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from dgkd_search.callbacks.safe_stream import SafeStream, make_safe

TEXT = "52.31 ± 0.42 · 猫 caf\udce9 …"


def written(encoding: str, *, keep_width: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    SafeStream(stream, keep_width=keep_width).write(TEXT)
    make_safe(stream)
    stream.write(f"|{TEXT}")
    return raw.getvalue().decode(encoding)


def test_each_encoding_shows_what_it_can() -> None:
    ascii_only = r"52.31 +- 0.42 - \u732b caf\udce9 ..."
    assert written("ascii") == f"{ascii_only}|{ascii_only}"
    assert written("latin-1").split("|")[0] == r"52.31 ± 0.42 · \u732b caf\udce9 ..."
    assert written("utf-8").split("|")[0] == r"52.31 ± 0.42 · 猫 caf\udce9 …"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_view_that_is_redrawn_gets_no_wider(encoding: str) -> None:
    line = written(encoding, keep_width=True).rsplit("|", 1)[0]
    assert cell_len(line) <= cell_len(TEXT)


def test_streams_that_cannot_be_changed_stay() -> None:
    make_safe(None)
    make_safe(io.StringIO())
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    make_safe(closed)
