"""Searches whose trials run in this process, one after the other, instead of under Ray.

As a script it is the command ``dgkd-search``, or several commands separated by ``+``.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dgkd_search.cli.main import main
from dgkd_search.data import open_prepared
from dgkd_search.distillation.progress import TrialProgress
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import one_line
from dgkd_search.store.store import Store
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.ray_tune.messages import TrialReport, decode_task


def train(controller: SearchController, encode_trial: Callable[[Any], str], *_: object) -> None:
    """Run trials as ``run_tune`` does, without Ray, until they end or are pruned."""
    while (stages := controller.next_trial(name := uuid.uuid4().hex)) is not None:
        task = decode_task(encode_trial(stages))
        trial = Trial(task.stages, open_prepared(task.data), Store(task.store))
        with contextlib.closing(iter(trial)) as rows:
            for report in _reports(rows):
                if controller.on_report(name, replace(report, stats=trial.result.stats)):
                    break
        controller.on_end(name)


def _reports(rows: Iterator[TrialProgress]) -> Iterator[TrialReport]:
    """Yield a trial's reports, and its failure if the disk failed."""
    try:
        for row in rows:
            yield TrialReport((row,))
    except OSError as error:
        yield TrialReport(failure=one_line(error), retryable=True)


@contextlib.contextmanager
def without_ray() -> Iterator[pytest.MonkeyPatch]:
    """Patch Ray away; yield the patch, to be extended."""
    with pytest.MonkeyPatch.context() as patch:
        runtime = SimpleNamespace(run_tune=train)
        ray = SimpleNamespace(ray_session=lambda _: contextlib.nullcontext(Path()))
        patch.setitem(sys.modules, "dgkd_search.study.ray_tune.runner", runtime)
        patch.setitem(sys.modules, "dgkd_search.study.ray_tune.ray_session", ray)
        yield patch


def run_each(words: list[str]) -> int:
    """Run commands separated by ``+`` until one fails; return the last exit code."""
    for is_end, group in itertools.groupby(words, lambda word: word == "+"):
        if not is_end and (code := _run(group)):
            return code
    return 0


def _run(words: Iterable[str]) -> int:
    try:
        return main([*words])
    except SystemExit as end:  # after --help
        return int(end.code or 0)


if __name__ == "__main__":
    with without_ray():
        sys.exit(run_each(sys.argv[1:]) if "+" in sys.argv else main(sys.argv[1:]))
