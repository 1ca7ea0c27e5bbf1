"""Searches that share a store at the same time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers.searches import TINY, start

from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.records import REFERENCE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_two_searches_on_one_store_train_every_stage_once(tmp_path: Path, thorough: bool) -> None:
    """Two concurrent searches with the same teacher and assistants, and different students.

    ``tests/distillation/test_trial.py`` tests two processes with one trial each, in less time.
    """
    if not thorough:
        pytest.skip("two searches by Ray; pytest --thorough")
    names = ("one", "two")
    processes = [
        start(
            *TINY,
            *f"--budget 2 --drop-prob {drop} --concurrency 1 --store store --out {out}".split(),
            cwd=tmp_path,
        )
        for out, drop in zip(names, ("0.1", "0.3"), strict=True)
    ]
    for process in processes:
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
    trained = Counter[str]()
    for out in names:
        study = open_readonly(RunFolder(tmp_path / out))
        reference = study.read(REFERENCE)
        assert reference is not None
        known = [*map(study.stats, study.trials), reference.stats]
        trained.update(
            stage.key
            for stats in known
            if stats is not None
            for stage in stats.stages
            if stage.trained
        )
    kept = {path.name for path in (tmp_path / "store" / "stages").glob("*/*")}
    assert dict(trained) == dict.fromkeys(kept, 1)
    # The baseline on labels, the teacher, one assistant, plain KD, and one student per search.
    assert len(kept) == 6
