"""Searches whose trials this process runs itself, one after the other, in place of Ray.

As a script: the command ``dgkd-search`` in that way.
"""

from __future__ import annotations

import contextlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dgkd_search.cli import main
from dgkd_search.data import open_prepared
from dgkd_search.errors import describe
from dgkd_search.identity import StageSpec
from dgkd_search.rows import Row
from dgkd_search.store import Store
from dgkd_search.trial import Trial
from dgkd_search.tune.conductor import Conductor


def train(conductor: Conductor, make_job: Callable[[Any], str], *_: object) -> None:
    """What ``run_tune`` does, without Ray: row by row, until the end or the pruner's verdict."""
    while (stages := conductor.next_job(name := uuid.uuid4().hex)) is not None:
        job = json.loads(make_job(stages))
        trial = Trial(
            [StageSpec.from_dict(spec) for spec in job["stages"]],
            open_prepared(Path(job["data"])),
            Store(Path(job["store"])),
        )
        with contextlib.closing(iter(trial)) as rows:
            for event in _events(rows):
                if conductor.on_row(name, {**event, "facts": trial.result.to_dict()}):
                    break
        conductor.on_end(name)


def _events(rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
    """A trial's rows, and its failure where the disk failed it."""
    try:
        for row in rows:
            yield {"rows": [row.to_dict()]}
    except OSError as error:
        yield {"failure": describe(error), "again": True}


@contextlib.contextmanager
def without_ray() -> Iterator[pytest.MonkeyPatch]:
    """Yields the patch, for more of it."""
    with pytest.MonkeyPatch.context() as patch:
        runtime = SimpleNamespace(run_tune=train)
        ray = SimpleNamespace(ray_session=lambda _: contextlib.nullcontext(Path()))
        patch.setitem(sys.modules, "dgkd_search.tune.runtime", runtime)
        patch.setitem(sys.modules, "dgkd_search.tune.session", ray)
        yield patch


if __name__ == "__main__":
    with without_ray():
        sys.exit(main(sys.argv[1:]))
