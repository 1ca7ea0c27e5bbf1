"""A complete search that is ended by, or fails at, any change to the disk or study.db.

It covers everything from creating the run folder to reading the test set, and raising the budget.
This process runs the trials instead of Ray, and all their stages are cached.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
import yaml
from helpers.crashing import Action, Fault, Outcome, forked, points
from helpers.rayless import without_ray
from helpers.studies import outcome as trials_of

import dgkd_search.workflows.finish
from dgkd_search.config.parse_options import parse_options, parse_values
from dgkd_search.data import digits
from dgkd_search.results.manifest import open_readonly
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.utils.files import write_bytes
from dgkd_search.workflows.search import resume_search, run_search

FAULTS = [
    Fault("before"),
    Fault("power"),
    Fault("error", errno.ENOSPC),
    Fault("error", errno.EIO, True),
]
SAID = {
    "train_limit": 20, "family": "plain-c10", "teacher": "plain10-c10", "student": "plain2-c10",
    "assistants": "plain4-c10", "epochs": 1, "student_epochs": 2, "batch_size": 16,
    "drop_prob": "0,0.5", "sampler": "random", "pruner": "none", "concurrency": 1,
    "no_reference": True, "confirm": "off",
}  # fmt: skip


# Options that resume a finished search.
MORE: dict[str, dict[str, object]] = {"raised": {"budget": 3, "confirm": "1x2"}}


def figure(table: Any, folder: Path, **_: object) -> list[Path]:
    write_bytes(folder / "accuracy_vs_assistants.svg", b"drawn")
    return []


def page(runs: object, path: Path, study: object) -> Path:
    write_bytes(path, b"written")
    return path


def readings(root: Path) -> Path:
    """A file to which each reading of the test set appends a letter; not on the failing disk."""
    return root.with_name(f"{root.name}-readings")


def begin(root: Path) -> None:
    said = {**SAID, "budget": 2, "out": str(root / "run"), "store": str(root / "store")}
    with reading(root):
        run_search(parse_options(said))


def go_on(root: Path, **given: object) -> None:
    with reading(root):
        resume_search(root / "run", parse_values(given))


@contextlib.contextmanager
def reading(root: Path) -> Iterator[None]:
    """Record readings of the test set."""
    real = dgkd_search.training.evaluation.load_test

    def read(*given: Any) -> Any:
        with readings(root).open("a") as file:
            file.write(".")
        return real(*given)

    with mock.patch("dgkd_search.training.evaluation.load_test", read):
        yield


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """Make searches run their trials in this process, and draw no figures."""
    with without_ray() as patch:
        patch.setattr("dgkd_search.results.plot.plot_accuracy", figure)
        patch.setattr("dgkd_search.results.report.page.render_report", page)
        found = digits._read()
        patch.setattr(digits, "_read", lambda: found)  # parsed once instead of a thousand times
        patch.setattr(
            "dgkd_search.training.evaluation.cores", lambda: 1
        )  # forked processes have only one thread
        yield


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory if the system has one, as flushing to disk takes time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path_factory.mktemp("disk")
        return
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@dataclass
class Whole:
    """Undisturbed searches.

    Attributes:
        filled: a folder whose store contains everything that a search needs.
        ended: the same with a finished run.
        results: results of the run, and of the run with one more trial.
        students: weights by key.
    """

    filled: Path
    ended: Path
    results: dict[str, dict[str, Any]]
    students: dict[str, bytes]


@pytest.fixture(scope="module")
def whole(memory: Path) -> Whole:
    filled, ended = memory / "filled", memory / "ended"
    begin(filled)
    for given in MORE.values():
        go_on(filled, **given)
    shutil.rmtree(filled / "run")
    shutil.copytree(filled, ended)
    begin(ended)
    found = {"begun": results(ended)}
    for name, given in MORE.items():
        shutil.copytree(ended, memory / name)
        go_on(memory / name, **given)
        found[name] = results(memory / name)
    weights = (filled / "store").glob("stages/*/*/weights.safetensors")
    students = {path.parent.name: path.read_bytes() for path in weights}
    return Whole(filled, ended, found, students)


def results(root: Path) -> dict[str, Any]:
    run = RunFolder(root / "run")
    best = yaml.safe_load(run.best.read_text())
    for name in ("test_reads", "checksum"):  # an interrupted reading may be counted
        best.pop(name)
    return {
        **trials_of(open_readonly(run)),
        "best": best,
        "student": run.student.read_bytes(),
    }


def finished(found: dict[str, Any]) -> dict[str, Any]:
    """Return values and curves by parameters."""
    return {json.dumps(t[2]): t[3:5] for t in found["trials"] if t[1] in ("COMPLETE", "PRUNED")}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("name", ["begun", *MORE])
def test_every_point_of_a_search(
    whole: Whole, memory: Path, name: str, fault: Fault, thorough: bool
) -> None:
    """Test one fault at every seventeenth change; with ``--thorough``, all faults at all changes.

    Writing a file takes five changes, so the faults meet all kinds of changes.
    """
    first, step = (0, 1) if thorough else (17 * FAULTS.index(fault), 17 * len(FAULTS))
    numbers = itertools.count()

    def fresh() -> Path:
        root = memory / f"{name}-{fault}-{next(numbers)}"
        shutil.copytree(whole.filled if name == "begun" else whole.ended, root)
        return root

    def actions(root: Path) -> list[Action]:
        return [lambda: begin(root) if name == "begun" else go_on(root, **MORE[name])]

    met = 0
    for outcome, root in points(fault, fresh, actions, first=first, step=step):
        assert outcome.error is None, outcome
        check(root, name, fault, outcome, whole)
        readings(root).unlink(missing_ok=True)
        met += 1
    assert met * step > 60


def check(root: Path, name: str, fault: Fault, outcome: Outcome, whole: Whole) -> None:
    """Resume the search, and compare the results."""
    __tracebackhide__ = True
    run, expected = RunFolder(root / "run"), whole.results[name]

    def recover() -> None:
        if name in MORE:
            go_on(root, **MORE[name])
        elif run.config.exists() or run.database.exists():
            go_on(root)
        else:
            begin(root)

    assert forked(recover) == 0, outcome
    found = results(root)
    if fault.kind != "error":
        assert found == expected, outcome
    # A trial that met a disk error may be retried after other trials.
    values, known = finished(found), finished(whole.results["raised"])
    assert values == {params: known[params] for params in values}, outcome
    best = yaml.safe_load(run.best.read_text())
    if name == "raised":
        assert best["confirmation"]["whole"], outcome
        again = {row["trial"]: row["accuracies"] for row in best["confirmation"]["configurations"]}
        assert {len(accuracies) for accuracies in again.values()} == {2}
        assert sum(again[best["trial"]]) == max(map(sum, again.values()))
        assert best["validation_accuracy"] == min(again[best["trial"]]), "of two, the lower"
    else:
        assert best["validation_accuracy"] == max(value for value, _ in values.values())
    assert found["student"] == whole.students[best["stages"][-1]["key"]]
    assert {t[1] for t in found["trials"]} <= {"COMPLETE", "FAIL"}
    assert len(finished(found)) == sum(t[1] == "COMPLETE" for t in found["trials"]) >= 2
    noted = yaml.safe_load(run.best.read_text())["test_reads"]
    read = len(readings(root).read_text()) if readings(root).exists() else 0
    assert read <= noted <= read + 1 + (name in MORE), outcome
