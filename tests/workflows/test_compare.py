from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dgkd_search.cli.main import main
from dgkd_search.store.store import Store
from dgkd_search.workflows.compare import (
    Method,
    MethodRun,
    _seconds,
    compare,
    comparison_table,
    methods,
    plan_method,
    train_student,
    with_interval,
)
from dgkd_search.workflows.single_chain import plan, run_trial

CHAIN = ("resnet20", "resnet14", "resnet8")


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    return {
        "dataset": "digits",
        "train_limit": 100,
        "epochs": 1,
        "batch_size": 32,
        "store": str(tmp_path / "store"),
    }


def test_the_methods_of_the_paper() -> None:
    assert methods(CHAIN) == (
        Method("NOKD", ("resnet8",)),
        Method("KD", ("resnet20", "resnet8")),
        Method("TAKD", CHAIN, "sequential"),
        Method("DGKD", CHAIN),
        Method("DGKD, drop 0.25", CHAIN, drop_prob=0.25),
    )
    assert [method.name for method in methods(CHAIN[::2])] == ["NOKD", "KD"]


def test_methods_share_what_they_have_in_common(small: dict[str, Any]) -> None:
    told: list[str] = []
    found = compare(methods(CHAIN), 2, small, told.append)
    assert [*found] == ["NOKD", "KD", "TAKD", "DGKD", "DGKD, drop 0.25"]
    assert told[0].startswith("NOKD, seed 1 of 2: ")
    kept = [*(Path(small["store"]) / "stages").glob("*/*")]
    # One teacher and one assistant for all, as TAKD and DGKD share it; two students per method.
    assert len(kept) == 2 + 2 * 5
    for runs in found.values():
        assert [run.replicate for run in runs] == [0, 1]
        assert len({run.before for run in runs}) == 1
        assert all(run.test is not None and 0 <= run.test <= 100 for run in runs)
    assert found["NOKD"][0].before == 0
    assert found["DGKD"][0].before > found["KD"][0].before > 0


def test_a_seed_is_that_of_the_plan(small: dict[str, Any]) -> None:
    run = train_student(Method("DGKD", CHAIN, drop_prob=0.5), 3, small)
    stages, data = plan(CHAIN, drop_prob=0.5, replicate=3, **small)
    assert stages[-1].key in Store(small["store"])
    assert run_trial(stages, data, small["store"]).val_accuracy == run.validation


def test_options_of_a_method_are_its_own(small: dict[str, Any]) -> None:
    one = train_student(Method("sum", CHAIN, options={"loss_scale": "sum"}), 0, small)
    stages, _ = plan(CHAIN, loss_scale="sum", **small)
    assert stages[-1].key in Store(small["store"])
    assert one.replicate == 0


def test_a_stage_whose_record_is_of_something_else_is_trained_again(
    small: dict[str, Any],
) -> None:
    (alone, *_) = methods(CHAIN)
    before = train_student(alone, 0, small)
    store = Store(small["store"])
    ((student, *_), _) = plan_method(alone, 0, small)
    entry = store.get(student.key)
    assert entry is not None
    store.reject(student.key, "a test")
    store.put(student.key, entry.tensors, {**entry.meta, "rows": [{"epoch": "../x"}]})
    assert train_student(alone, 0, small).validation == before.validation
    assert _seconds(Store(small["store"]), student) > 0


def test_the_table() -> None:
    runs = [MethodRun(0, 50.0, 49.0, 2.0, 7.0), MethodRun(1, 52.0, 51.0, 4.0, 7.0)]
    assert comparison_table({"KD": runs}) == [
        "|  | validation % | test % | seeds | student, s | models above it, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| KD | 51.00 ± 12.71 | 50.00 ± 12.71 | 2 | 3.0 | 7.0 |",
    ]
    assert "test" not in comparison_table({"KD": [MethodRun(0, 50.0, None, 2.0, 7.0)]})[0]
    assert with_interval([50.0]) == "50.00"


def test_the_command(small: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = [w for k, v in small.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    assert main(["compare", ",".join(CHAIN), "--repeats", "1", *words]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2].startswith("| NOKD | ")
    table, _, rest = out.partition("\n\n")
    assert len(table.splitlines()) == 2 + 5
    above = [line.split(":")[0] for line in rest.splitlines() if ": larger models " in line]
    assert above == ["KD", "TAKD", "DGKD", "DGKD, drop 0.25"]
    assert "use at least three seeds" in rest
    assert "seed 1 of 1" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("resnet8,resnet20", "must be larger than the student"),
        ("resnet20,nonsense", "nonsense"),
        ("resnet20,nonsense,resnet8", "model 'nonsense': unknown"),
        ("wrn_16_2,resnet8", "model wrn_16_2 (family wrn), model resnet8 (family resnet): are of"),
        ("wrn_16_2,wrn_10_1 --family vgg", "--family vgg: contradicts model wrn_16_2 (family wrn)"),
        ("wrn_16_2,wrn_10_1 --family wnr", "--family wnr: unknown; choose from resnet"),
        ("resnet8", "a chain needs a teacher and a student"),
        ("resnet20,resnet8 --repeats 0", "--repeats 0: must be"),
        ("resnet20,resnet8 --drop-prob 0:0.5", "must be one value"),
        ("resnet20,resnet8 --budget 3", "--budget: unknown option"),
    ],
)
def test_bad_input_gets_a_line(
    words: str, message: str, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words.split(), "--store", small["store"]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "seed" not in err, "nothing is taught before all is checked"
    assert message in err
    assert all(line.startswith("dgkd-search: ") for line in err.splitlines())
