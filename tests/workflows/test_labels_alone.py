"""If labels alone train the best student, it is shipped, and all commands work with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from helpers.rayless import without_ray
from helpers.tabled import texts

import dgkd_search
from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import Event, Message
from dgkd_search.results.summary import Summary

# A teacher with one epoch is worse than a student with eight, which learns only from it.
OPTIONS = {
    "dataset": "digits",
    "teacher": "cnn32",
    "student": "cnn4",
    "assistants": "none",
    "epochs": 1,
    "student_epochs": 8,
    "kd_weight": 1.0,
    "budget": 1,
    "confirm": "1x2",
}


class Messages(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def notify(self, event: Event) -> None:
        if isinstance(event, Message):
            self.texts.append(event.text)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary, list[str]]:
    root, told = tmp_path_factory.mktemp("alone"), Messages()
    with without_ray():
        summary = dgkd_search.search(
            callback=told, out=str(root / "run"), store=str(root / "store"), **OPTIONS
        )
    return root, summary, told.texts


def test_the_student_alone_is_shipped_and_said_to_be_best(
    search: tuple[Path, Summary, list[str]],
) -> None:
    root, summary, _ = search
    best = yaml.safe_load((root / "run" / "best.yaml").read_text())
    assert (best["trial"], best["student"], best["loss"]) == (None, "cnn4", None)
    assert [stage["architecture"]["name"] for stage in best["stages"]] == ["cnn4"]
    text = str(summary)
    assert "best chain  cnn4  (no teacher: labels alone)" in text
    assert "no chain is better than labels alone, so that student is shipped" in text
    facts = summary.to_dict()
    assert (facts["trial"], facts["chain"]) == (None, ["cnn4"])
    replication = summary.replication
    assert replication is not None
    winner = replication.winner
    assert winner is not None
    assert winner is replication.baseline
    headline = f"best: {winner.mean:.2f} % (mean of 2 seeds), labels alone"
    assert headline in texts(root / "run" / "accuracy_vs_assistants.svg")


def test_a_teacher_that_is_no_better_is_named_as_soon_as_both_are_known(
    search: tuple[Path, Summary, list[str]],
) -> None:
    _, summary, told = search
    (note,) = [text for text in told if "no better than" in text]
    assert note.startswith("note: the teacher cnn32 (")
    assert told.index(note) < told.index("choosing the best student, writing the results")
    assert note.removeprefix("note: ") in str(summary)


def test_everything_goes_on_from_it(search: tuple[Path, Summary, list[str]]) -> None:
    root, _, _ = search
    run = dgkd_search.load_run(root / "run")
    assert run.best is not None
    assert run.best.models == ("cnn4",)
    student = dgkd_search.load_student(root / "run")
    assert student(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    page = dgkd_search.write_report(root / "run").read_text()
    assert " % (mean of 2 seeds), labels alone." in page, "read out in place of the chart"
    files = dgkd_search.export_student(root / "run", root / "exported", ["torch"])
    card = next(file for file in files if file.name == "README.md").read_text()
    assert "cnn4" in card
    retrained = dgkd_search.train(root / "run", root / "trained", repeats=2)
    assert retrained.chain.models == ("cnn4",)
    assert len(set(retrained.tests)) == 2


def test_a_resumed_search_ships_it_again(search: tuple[Path, Summary, list[str]]) -> None:
    root, summary, _ = search
    with without_ray():
        again = dgkd_search.resume(root / "run", callback=Callback())
    assert again.trial is None
    assert again.accuracies == summary.accuracies
    assert again.test_reads == 1
