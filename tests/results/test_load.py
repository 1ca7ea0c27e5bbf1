from __future__ import annotations

import base64
from pathlib import Path

import pytest
from helpers.studies import run_trials

import dgkd_search
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.errors import InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.trial_row import COLUMNS
from dgkd_search.workflows.resume import create_study


def test_a_run_is_read_with_typed_columns(tmp_path: Path) -> None:
    said = {"dataset": "digits", "epochs": "4", "budget": "5", "pruner": "median"}
    resolved = resolve(parse_options(said))
    run = RunFolder(tmp_path / "run")
    with run.begin():
        study = create_study(run, resolved.config, SearchDefinition.of(resolved.options, "f" * 32))
        run.keep()
    run_trials(study, 5)
    loaded = dgkd_search.load_run(run.path)
    assert {name: str(dtype) for name, dtype in loaded.trials.dtypes.items()} == COLUMNS
    assert [*loaded.trials["number"]] == [0, 1, 2, 3, 4]
    assert [str(dtype) for dtype in loaded.curves.dtypes] == ["int64", "int64", "float64"]
    last = loaded.curves.groupby("trial")["val_accuracy"].last()
    assert [*last] == [*loaded.trials["val_accuracy"]], "at full precision"
    assert "<img" not in loaded._repr_html_()
    run.figure.write_text("<svg/>")
    shown = loaded._repr_html_()
    assert "run: 5 COMPLETE" in shown
    assert base64.b64decode(shown.split("base64,")[1].split('"')[0]) == b"<svg/>"
    assert loaded.best is None
    assert loaded.path == run.path


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        dgkd_search.load_run(tmp_path)
