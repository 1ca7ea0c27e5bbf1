"""The figure of a search's gains: which configurations it shows, and in which order."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from dgkd_search.errors import InputError
from dgkd_search.study.replication_report import MeanInterval, ReplicationReport, ReplicationRow

CHAIN = "large > middle > small"
KD = "large > small"


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "analysis")
    return import_module("gains")


def row(trial: int | None, chain: str | None, *accuracies: float) -> ReplicationRow:
    mean = MeanInterval(sum(accuracies) / len(accuracies), None)
    return ReplicationRow(trial, chain, None, None, mean, accuracies)


ROWS = (
    row(4, CHAIN, 56.0, 55.0),
    row(2, "large > larger > small", 55.0, 55.0),
    row(0, KD, 54.0, 54.5),
    row(None, None, 52.0, 53.0),
)


def test_labels_alone_come_first_and_the_best_chain_last(gains: ModuleType) -> None:
    rows = gains.read_configurations(ReplicationReport(ROWS, True), "small", 4)
    assert [(each.name, each.chain) for each in rows] == [
        ("labels alone", "small"),
        ("plain KD", KD),
        ("best chain", CHAIN),
    ]
    assert [each.is_best for each in rows] == [False, False, True]
    assert rows[-1].interval.mean == 55.5


@pytest.mark.parametrize(("best", "name"), [(0, "plain KD"), (None, "labels alone")])
def test_plain_kd_or_labels_alone_may_be_the_best(
    gains: ModuleType, best: int | None, name: str
) -> None:
    rows = gains.read_configurations(ReplicationReport(ROWS, True), "small", best)
    assert [each.name for each in rows] == ["labels alone", "plain KD"]
    assert [each.name for each in rows if each.is_best] == [name]


def test_the_figure_states_every_mean(gains: ModuleType) -> None:
    rows = gains.read_configurations(ReplicationReport(ROWS, True), "small", 4)
    (axes,) = gains.draw(rows, "a title").axes
    assert [text.get_text().split(" ")[0] for text in axes.texts] == ["52.50", "54.25", "55.50"]
    assert axes.get_yticklabels()[2].get_text() == f"best chain\n{CHAIN}"


@pytest.mark.parametrize("report", [None, ReplicationReport(ROWS, False)])
def test_a_search_without_complete_replication_is_refused(
    gains: ModuleType, report: ReplicationReport | None
) -> None:
    with pytest.raises(InputError, match="no complete replication: resume it"):
        gains.read_configurations(report, "small", 4)
