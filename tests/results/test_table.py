from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.studies import INFO
from helpers.tabled import make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.stats import StageResult, TrialStats
from dgkd_search.errors.shown import csv_cell
from dgkd_search.results.table import csv_text, to_frame, trials_table, write_trials
from dgkd_search.results.trial_row import COLUMNS, TrialRow
from dgkd_search.study.config import ChainSpace, StudyConfig
from dgkd_search.study.planner import Planner
from dgkd_search.study.records import StudentRecord
from dgkd_search.study.replication import choose_replicates, save_replicate
from dgkd_search.study.study import ChainStudy
from dgkd_search.training.recipe import Distillation, Numerics, Recipe

HEADER = (
    "number,state,teacher,assistants,student,assistant_count,guidance,drop_probability,temperature,"
    "kd_weight,lr,val_accuracy,student_epochs,stages_trained,stages_reused,seconds,"
    "computing_seconds,waiting_seconds,started,finished,student_key,reason,"
    "training_tflop,repeats,repeats_mean,repeats_half_width\n"
)


def make_study(epochs: int = 3, **space: Any) -> ChainStudy:
    recipe = Recipe(epochs, 32, 0.1, 1e-4, "cosine", "none")
    pool = ("resnet20", "resnet14")
    values: dict[str, Any] = {"max_assistants": 2, "drop_probs": (0.0, 0.25, 0.5)} | space
    config = StudyConfig(
        data=DataConfig("digits"),
        family="resnet",
        space=ChainSpace("resnet26", "resnet8", pool, **values),
        recipe=recipe,
        student_recipe=recipe,
        distillation=Distillation(0.7, 3.0),
        numerics=Numerics(),
        budget=6,
        pruner="none",
    )
    return ChainStudy(config)


def read(path: Path) -> pd.DataFrame:
    """Read the file as users do."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table) == list(COLUMNS)
    for name, dtype in COLUMNS.items():
        if dtype != "string":
            column = table[name].where(table[name] != "", None)
            table[name] = pd.to_numeric(column) if dtype in ("Int64", "Float64") else column
    return table.astype(COLUMNS)


def stats_having(*trained: int) -> TrialStats:
    stages = tuple(
        StageResult(f"m{i}", f"key{i}", 90.0, 3, n, 1.0 * n, True) for i, n in enumerate(trained)
    )
    return TrialStats(stages, computing=12.5, waiting=0.25, seconds=13.5)


def ask(study: ChainStudy) -> int:
    proposal = study.ask()
    assert proposal is not None
    return proposal.number


@pytest.fixture
def study() -> ChainStudy:
    """A study: completed KD, pruned full chain, failed and running single assistants."""
    study = make_study()
    for step, value in ((1, 80.0), (2, 90.0), (3, 96.123456789)):
        if step == 1:
            ask(study)
        study.report(0, step, value)
    study.complete(0, 96.123456789, stats_having(3, 0))
    ask(study)
    study.report(1, 2, 70.0)
    study.report(1, 1, 75.0)
    study.prune(1, stats_having(0, 0, 2, 0))
    ask(study)
    study.fail(2, 'loss is "nan",\nnot\x00 a\udc80 number')
    ask(study)
    study.report(3, 1, 55.5)
    return study


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in table.dtypes.items()}


def test_of_a_worker_that_died_at_once_nothing_is_known_but_its_time() -> None:
    study = make_study()
    ask(study)
    study.fail(0, "its worker died", TrialStats(seconds=3.0, elapsed=4.0))
    (row,) = trials_table(study).to_dict("records")
    facts = ("seconds", "computing_seconds", "stages_trained", "stages_reused")
    assert [name for name in facts if not pd.isna(row[name])] == ["seconds"]


def test_columns_and_types_are_the_same_for_all_and_no_trials(study: ChainStudy) -> None:
    full, empty = trials_table(study), trials_table(make_study())
    assert ",".join(full.columns) + "\n" == HEADER
    assert list(full.columns) == list(empty.columns)
    assert len(empty) == 0
    assert dtypes(full) == dtypes(empty) == COLUMNS


def test_each_state_in_order(study: ChainStudy) -> None:
    table = trials_table(study)
    assert list(table["number"]) == [0, 1, 2, 3]
    assert list(table["state"]) == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert list(table["student_epochs"]) == [3, 2, 0, 1]
    # The highest step counts, not the latest report.
    assert table["val_accuracy"].tolist()[:2] == [96.123456789, 70.0]
    assert table["val_accuracy"].isna().tolist() == [False, False, True, False]
    assert table["val_accuracy"][3] == 55.5
    assert list(table["student_key"]) == ["key1", "", "", ""]
    assert list(table["reason"]) == ["", "", r'loss is "nan", not\x00 a\udc80 number', ""]
    assert table["finished"].isna().tolist() == [False, False, False, True]
    # Recorded at the end; a trial that failed before it started took no time.
    assert table["seconds"].isna().tolist() == [False, False, True, True]
    assert table["seconds"][0] == 13.5


def test_chain_and_loss_of_each_trial(study: ChainStudy) -> None:
    table = trials_table(study)
    assert set(table["teacher"]) == {"resnet26"}
    assert set(table["student"]) == {"resnet8"}
    assert list(table["assistants"])[:3] == ["", "resnet20>resnet14", "resnet14"]
    assert list(table["assistant_count"])[:3] == [0, 2, 1]
    assert pd.isna(table["drop_probability"][0])
    assert table["drop_probability"][1] == 0.25
    assert set(table["temperature"]) == {3.0}
    assert set(table["kd_weight"]) == {0.7}
    assert set(table["lr"]) == {0.1}


def test_stages_and_times(study: ChainStudy) -> None:
    table = trials_table(study)
    assert table["stages_trained"].tolist()[:2] == [1, 1]
    assert table["stages_reused"].tolist()[:2] == [1, 3]
    assert table["stages_trained"].isna().tolist() == [False, False, True, True]
    assert table["computing_seconds"][0] == 12.5
    assert table["waiting_seconds"][0] == 0.25
    started = study.trials[0].datetime_start
    assert started is not None
    assert table["started"][0] == started.replace(microsecond=0)


def test_a_student_of_labels_alone_has_no_teacher_and_no_distillation() -> None:
    study = make_study(guidances=("none",), max_assistants=2)
    ask(study)
    row = trials_table(study).iloc[0]
    assert (row["teacher"], row["assistants"], row["student"]) == ("", "", "resnet8")
    assert (row["guidance"], row["assistant_count"]) == ("none", 0)
    assert row[["drop_probability", "temperature", "kd_weight"]].isna().all()


def test_unused_assistants_fall_out_and_coinciding_guidances_are_dense() -> None:
    study = make_study(guidances=("teacher",))
    ask(study)
    row = trials_table(study).iloc[0]
    assert (row["assistants"], row["assistant_count"], row["guidance"]) == ("", 0, "dense")


def test_sequential_guidance_is_named_and_drops_nothing() -> None:
    study = make_study(guidances=("sequential",))
    ask(study)
    ask(study)
    row = trials_table(study).iloc[1]
    assert (row["assistants"], row["guidance"]) == ("resnet20>resnet14", "sequential")
    assert pd.isna(row["drop_probability"])


def test_a_trial_that_died_before_it_was_drawn_has_no_chain() -> None:
    study = make_study()
    study._study.ask()  # no parameter suggested, as if a driver died inside ``ask``
    row = trials_table(study).iloc[0]
    assert row["state"] == "RUNNING"
    assert (row["teacher"], row["assistants"], row["student"], row["guidance"]) == ("",) * 4
    assert row[["assistant_count", "lr", "temperature", "val_accuracy"]].isna().all()


def test_an_accuracy_that_is_no_number_is_missing() -> None:
    study = make_study()
    ask(study)
    study.report(0, 1, math.nan)
    study.fail(0, "diverged")
    assert trials_table(study)["val_accuracy"].isna().all()


def test_round_trip(study: ChainStudy, tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    write_trials(study, path)
    table, again = trials_table(study), read(path)
    assert again["val_accuracy"][0] == 96.1235  # six significant digits
    assert_frame_equal(again, table, rtol=1e-5)
    assert path.read_text().startswith(HEADER + "0,COMPLETE,resnet26,,resnet8,0,dense,,")


def test_what_was_taught_again_stands_beside_its_trial(tmp_path: Path) -> None:
    study = make_study(epochs=1)
    study.config = replace(study.config, confirm_top=1, confirm_seeds=2, reference=False)
    for value in (50.0, 60.0, 55.0):
        number = ask(study)
        study.report(number, 1, value)
        study.complete(number, value, stats_having(3, 0))
    planner = Planner(study.config, INFO)
    for repeat in choose_replicates(study, planner):
        assert trials_table(study)["repeats"].isna().all() == (repeat.replicate == 1)
        value = {1: 61.0, 0: 51.0}[int(repeat.trial or 0)] + repeat.replicate
        save_replicate(study, repeat.trial, repeat.replicate, StudentRecord(TrialStats(), value))
    write_trials(study, tmp_path / "trials.csv")
    table = read(tmp_path / "trials.csv")
    assert table["val_accuracy"].tolist() == [50.0, 60.0, 55.0], "the search's own"
    assert table["repeats"].tolist()[:2] == [2, 2]
    assert table["repeats_mean"].tolist()[:2] == [52.5, 62.5]
    # Student's t of one degree, 12.706, times half a point.
    assert table["repeats_half_width"].tolist()[:2] == pytest.approx([6.353, 6.353], abs=1e-3)
    assert table.iloc[2][["repeats", "repeats_mean", "repeats_half_width"]].isna().all()


def test_round_trip_of_an_empty_study(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    write_trials(make_study(), path)
    assert path.read_text() == HEADER
    assert_frame_equal(read(path), trials_table(make_study()))


_TEXT = st.text(st.characters(exclude_categories=[]))
_VALUES = {
    "string": _TEXT,
    "Int64": st.none() | st.integers(0, 2**53),
    "Float64": st.none() | st.floats(-1e9, 1e9).map(lambda x: float(f"{x:.6g}")),
    "datetime64[s]": st.none()
    | st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)).map(
        lambda time: time.replace(microsecond=0)
    ),
}


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.builds(
            TrialRow,
            **{name: _VALUES[dtype] for name, dtype in COLUMNS.items()}
            | {"assistants": st.lists(_TEXT, max_size=2).map(tuple)},
        ),
        max_size=3,
    )
)
def test_any_table_survives_the_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[TrialRow]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "trials.csv"
    path.write_text(csv_text(rows), newline="")
    expected = to_frame(rows)
    for name in (name for name, dtype in COLUMNS.items() if dtype == "string"):
        expected[name] = expected[name].map(csv_cell).astype("string")
    assert_frame_equal(read(path), expected, check_exact=True)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"assistants": ("a", "b"), "drop_probability": 0.25},
            "resnet26 > a > b > resnet8, drop 0.25",
        ),
        ({}, "resnet26 > resnet8"),
        ({"teacher": "", "guidance": "none"}, "resnet8"),
    ],
)
def test_chains_in_words(row: dict[str, Any], text: str) -> None:
    (found,) = make_rows(row)
    assert found.chain == text
    assert found.taught == (len(found.models) > 1)
