"""Searches that end the same, however they were scheduled and whatever they shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
import yaml
from helpers.rayless import without_ray
from helpers.searches import run
from optuna.trial import TrialState

from dgkd_search.cli.main import main
from dgkd_search.store.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


LADDER = (
    "--train-limit 100 --family plain-c10 --student plain2-c10 "
    "--augment crop+flip --views 2 --epochs 3 --batch-size 16 --lr 0.02 --drop-prob 0.25 "
    "--sampler random --seed 3 --pruner none --no-reference --confirm off"
).split()


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """Validation accuracies by epoch of every configuration, by its student's key."""
    study = optuna.load_study(study_name="dgkd-search", storage=f"sqlite:///{folder / 'study.db'}")
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    return {t.user_attrs["facts"]["stages"][-1]["key"]: t.intermediate_values for t in study.trials}


def search(words: Sequence[object], cwd: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a search in this process, without Ray; what it prints."""
    with pytest.MonkeyPatch.context() as patch, without_ray():
        patch.chdir(cwd)
        patch.setenv("XDG_CACHE_HOME", str(cwd / "cache"))
        code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_sharing_changes_no_result(
    tmp_path: Path, thorough: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """One assistant, one trial after another; with ``--thorough``, three, and two at once."""
    teacher, *assistants = [
        *(["plain10-c10", "plain8-c10"] if thorough else []),
        "plain6-c10",
        "plain4-c10",
    ]
    count = 2 ** len(assistants)  # configurations, which the budget makes every search try
    ladder = [
        *LADDER,
        "--teacher",
        teacher,
        "--assistants",
        ",".join(assistants),
        "--budget",
        count,
    ]
    ways = {
        "alone": "--store none --concurrency 1",
        "shared": "--store store --concurrency 2",
    }
    found, printed = {}, {}
    for out, way in ways.items():
        words = [*ladder, *way.split(), "--out", out]
        if thorough:
            code, printed[out], err = run(*words, cwd=tmp_path)
            assert code == 0, err
        else:
            printed[out] = search(words, tmp_path, capsys)
        found[out] = curves(tmp_path / out)
        stores = {path.parent.name for path in tmp_path.rglob("format.json")}
        assert stores == ({"store"} if out == "shared" else set()), "private ones are gone"
    assert len(found["alone"]) == count
    assert all(list(curve) == [1, 2, 3] for curve in found["alone"].values())
    assert len({tuple(curve.values()) for curve in found["alone"].values()}) > count / 2
    assert found["alone"] == found["shared"], (
        "one after the other, two at once sharing what there is"
    )
    for out in ways:
        best = yaml.safe_load((tmp_path / out / "best.yaml").read_text())
        entry = Store(tmp_path / "store").get(best["stages"][-1]["key"])
        assert entry is not None
        assert (tmp_path / out / "student.safetensors").read_bytes() == entry.tensors
    # Each for itself: a teacher, its half of the assistants on average, a student. Shared: one
    # teacher, an assistant for each set of larger ones and itself, and the students.
    each = count + count * len(assistants) // 2 + count
    together = 1 + (count - 1) + count
    assert (each, together) == ((28, 16) if thorough else (5, 4))
    assert f"{each} trained, 0 cached" in printed["alone"]
    assert f"{together} trained, {each - together} cached" in printed["shared"]
