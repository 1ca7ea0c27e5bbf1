"""Reading a run folder: damaged files are rejected, and its definition must not change."""

from __future__ import annotations

import functools
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from helpers.registries import isolate
from helpers.studies import make_config, run_trials
from optuna.samplers import RandomSampler

from dgkd_search import Scope, register_option, register_sampler
from dgkd_search.callbacks.base import Callback, Observer
from dgkd_search.config.options import OPTIONS
from dgkd_search.config.parse_options import (
    NO_OPTIONS,
    ParsedOptions,
    parse_options,
    parse_values,
)
from dgkd_search.config.resolve import Resolved, resolve
from dgkd_search.errors import InputError
from dgkd_search.results.definition import DEFINITION, SearchDefinition
from dgkd_search.results.manifest import open_readonly, read_manifest
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.spec import TRAINING_VERSION
from dgkd_search.utils.hashing import to_checksummed_json, with_checksum
from dgkd_search.workflows.resume import check_resumption, create_study, load_study

DATA = "f" * 32
SAID = {"budget": 3, "concurrency": 1, "epochs": 4, "time_budget": "1h", "pruner": "none"}


def definition_of(study: ChainStudy) -> SearchDefinition:
    definition = study.read(DEFINITION)
    assert definition is not None
    return definition


@pytest.fixture
def resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolved:
    monkeypatch.chdir(tmp_path)
    return resolve(parse_options({**SAID, "out": "run"}))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("begun"))
        resolved = resolve(parse_options({**SAID, "out": "run"}))
        folder = RunFolder("run")
        with folder.begin():
            study = create_study(
                folder, resolved.config, SearchDefinition.of(resolved.options, DATA)
            )
            run_trials(study, 2)
            ElapsedTime(5.0, 2.0).note(study)
        return folder.path.absolute()


@pytest.fixture
def run(resolved: Resolved, begun: Path) -> RunFolder:
    """A copy of that run in the test's folder."""
    shutil.copytree(begun, "run")
    return RunFolder("run")


class Listener(Observer):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def edit(run: RunFolder, **values: Any) -> None:
    said = yaml.safe_load(run.config.read_text())
    run.config.write_text(yaml.safe_dump({**said, **values}))


def change(run: RunFolder, statement: str, *values: Any) -> None:
    with sqlite3.connect(run.database) as database:
        assert database.execute(statement, values).rowcount > 0
    database.close()


def reopened(run: RunFolder, fingerprint: str = DATA) -> tuple[ChainStudy, list[str]]:
    listener = Listener()
    record = read_manifest(run)
    config = resolve(record.options).config
    definition = SearchDefinition.of(record.options, fingerprint)
    return load_study(record, config, definition, listener), listener.messages


def test_a_run_is_read_as_it_was_written(run: RunFolder, resolved: Resolved) -> None:
    record = read_manifest(run)
    assert vars(record.options) == {**vars(resolved.options), "out": None}
    assert record.definition.data == DATA
    assert (record.damaged, record.definition.initial_params) == ({}, None)
    study = open_readonly(run)
    assert [trial.number for trial in study.trials] == [0, 1]
    assert study.damage() is None
    assert ElapsedTime.from_study(study) == ElapsedTime(5.0, 2.0)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="is not a run folder"):
            read_manifest(RunFolder(path))
    assert list(tmp_path.iterdir()) == []


def test_what_defines_a_run_may_not_be_edited(run: RunFolder) -> None:
    edit(run, epochs=5, seed=7, budget=9)
    with pytest.raises(InputError) as caught:
        read_manifest(run)
    assert sorted(message.split(":")[1].strip() for message in caught.value.messages) == [
        "epochs 5",
        "seed 7",
    ]
    assert "started with 4" in str(caught.value)
    edit(run, epochs=4, seed=0, budget=9, concurrency=2)
    record = read_manifest(run)
    assert (record.options.budget, record.options.concurrency) == (3, 1)
    assert "pass changes as options" in record.damaged[run.config]
    with pytest.raises(InputError) as caught:
        check_resumption(run, NO_OPTIONS)
    assert sorted(m.split(": ", 1)[1] for m in caught.value.messages) == [
        f"{name}: the run has {value}, and --resume takes no values from this file; add --{name}, "
        "or restore it"
        for name, value in (("budget 9", 3), ("concurrency 2", 1))
    ]
    given = parse_values({"budget": 9, "concurrency": 2})
    assert not any("config.yaml" in problem for problem in problems_of(run, given))


def problems_of(run: RunFolder, options: ParsedOptions) -> tuple[str, ...]:
    try:
        check_resumption(run, options)
    except InputError as error:
        return error.messages
    return ()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("given", "weights"),
        ("code", "code of its models"),
        ("loss", "code of its loss"),
        ("guidance", "code of its guidances"),
        ("sampler", "code of its sampler"),
        ("pruner", "code of its pruner"),
    ],
)
def test_what_a_user_brought_along_must_be_the_same(
    run: RunFolder, resolved: Resolved, name: str, what: str
) -> None:
    """Otherwise, old and new trials of one study would not be comparable."""
    record, config = read_manifest(run), resolve(resolved.options).config
    changed = SearchDefinition.of(record.options, DATA, None, {name: "c" * 32})
    noted = replace(record, definition=replace(changed, checksums={name: "b" * 32}))
    with pytest.raises(InputError, match=f"started with other .*{what}"):
        load_study(noted, config, changed, Listener())
    if name in ("guidance", "sampler", "pruner"):  # which early runs did not record
        assert len(load_study(record, config, changed, Listener()).trials) == 2
    else:
        with pytest.raises(InputError, match=f"started with other .*{what}"):
            load_study(record, config, changed, Listener())


@pytest.mark.parametrize(
    "change",
    [
        {"first": 3},
        {"options": ["a"]},
        {"data": None},
    ],
)
def test_one_undecodable_definition_is_made_again_from_the_other(
    run: RunFolder, change: dict[str, object]
) -> None:
    value = {**read_manifest(run).definition.to_json(), **change}
    run.definition.write_bytes(to_checksummed_json(value))
    record = read_manifest(run)
    assert list(record.damaged) == [run.definition]
    assert record.definition.data == DATA
    run.database.unlink()
    with pytest.raises(InputError, match=r"can't be read \(\.definition\.json: "):
        read_manifest(run)


def test_a_definition_without_options_is_none(run: RunFolder) -> None:
    run.definition.write_bytes(to_checksummed_json({"format": 2, "training": TRAINING_VERSION}))
    run.database.unlink()
    with pytest.raises(InputError, match=r"can't be read \(\.definition\.json: .*options"):
        read_manifest(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reference", {"val_accuracy": "x"}),
        ("reference", {"val_accuracy": 3.0, "stages": [{}]}),
        ("spent", {"seconds": "x"}),
        ("confirmation", {"chosen": ["1"], "finished": 2}),
        ("confirmation", {"chosen": ["1", "q"], "stands for": {}, "finished": 2}),
        ("repeat 1 1", {"val_accuracy": 1.0, "stages": 3}),
        ("test", {"reads": []}),
    ],
)
def test_facts_of_a_study_that_are_none_are_damage(
    run: RunFolder, name: str, value: dict[str, object]
) -> None:
    text = json.dumps(with_checksum(value))
    insert = "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, ?, ?)"
    with closing(sqlite3.connect(run.database)) as database, database:
        database.execute("DELETE FROM study_user_attributes WHERE key = ?", (name,))
        database.execute(insert, (name, text))
    with pytest.raises(InputError, match=r"study\.db: is damaged .*--resume"):
        open_readonly(run)


def test_other_data_are_refused(run: RunFolder) -> None:
    with pytest.raises(InputError, match="started with other data"):
        reopened(run, "e" * 32)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, None),
        ({"budget": "3", "time_budget": "2h", "concurrency": "2", "quiet": True}, None),
        ({"epochs": "4", "student": "cnn3"}, None),  # unchanged
        ({"epochs": "5"}, "--epochs 5: the run was started with 4; leave it out"),
        ({"cpus_per_trial": 2}, "--cpus-per-trial 2: the run was started with 1"),
        ({"gpus-per-trial": "1"}, "--gpus-per-trial 1: the run was started with 0"),
        ({"budget": 2}, "--budget 2: the run has 3, which can only be raised"),
        ({"time-budget": "90"}, "--time-budget 90: the run has 3600"),
        ({"out": "other"}, "--out other: a resumed run stays in its folder"),
        ({"epochs": "0"}, "--epochs 0: must be"),
        ({"nothing": "0"}, "--nothing: unknown option"),
    ],
)
def test_what_may_be_given_on_resume(
    run: RunFolder, given: dict[str, Any], wrong: str | None
) -> None:
    if wrong is None:
        options = check_resumption(run, parse_values(given)).validated.resolved.options
        assert options.budget == 3
        assert options.time_budget == (7200 if "time_budget" in given else 3600)
        assert options.concurrency == (2 if "concurrency" in given else 1)
    else:
        with pytest.raises(InputError) as caught:
            check_resumption(run, parse_values(given))
        (message,) = caught.value.messages
        assert message.startswith(wrong)


def test_a_raised_budget_stays(run: RunFolder) -> None:
    record = read_manifest(run)
    options = check_resumption(run, parse_values({"budget": 5})).validated.resolved.options
    study = load_study(
        record, resolve(options).config, SearchDefinition.of(options, DATA), Callback()
    )
    assert study.config.budget == 5
    assert read_manifest(run).options.budget == 5
    with pytest.raises(InputError, match="--budget 4: the run has 5"):
        check_resumption(run, parse_values({"budget": 4}))


def test_a_time_budget_can_be_set_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = resolve(parse_options({**SAID, "time_budget": None, "out": "run"}))
    folder = RunFolder("run")
    with folder.begin():
        run_trials(
            create_study(folder, resolved.config, SearchDefinition.of(resolved.options, DATA)), 1
        )
    assert read_manifest(folder).options.time_budget is None
    overrides = parse_values({"time_budget": "30m"})
    options = check_resumption(folder, overrides).validated.resolved.options
    study = load_study(
        read_manifest(folder),
        resolve(options).config,
        SearchDefinition.of(options, DATA),
        Callback(),
    )
    assert study.config.time_budget == 1800
    with pytest.raises(InputError, match="--time-budget 60: the run has 1800, which can only be"):
        check_resumption(folder, parse_values({"time_budget": "60s"}))


def test_options_of_a_package_are_kept_and_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(monkeypatch)
    monkeypatch.chdir(tmp_path)
    register_option("beta", float, 1.0, "weight of the rest (1)")
    register_option("patience", int, 1, "hours to wait (1)", scope=Scope.RESOURCES)
    register_sampler("waiting", lambda seed, patience: RandomSampler(seed), ["patience"])
    said = {**SAID, "beta": "0.1", "sampler": "waiting", "out": "run"}
    resolved, folder = resolve(parse_options(said)), RunFolder("run")
    with folder.begin():
        definition = SearchDefinition.of(resolved.options, DATA)
        run_trials(create_study(folder, resolved.config, definition), 1)
    assert read_manifest(folder).options.extra == (("beta", 0.1), ("patience", 1))
    overrides = parse_values({"patience": "2", "beta": "0.10"})
    checked = check_resumption(folder, overrides).validated.resolved
    assert checked.options.extra == (("beta", 0.1), ("patience", 2))
    assert checked.config.sampler_options == (("patience", 2),)
    assert checked.warnings[-1] == "--beta has no effect: none of the chosen parts takes it"
    refusal = r"^--beta 0.2: the run was started with 0.1; leave it out"
    with pytest.raises(InputError, match=refusal):
        check_resumption(folder, parse_values({"beta": 0.2}))
    edit(folder, beta=0.3)
    with pytest.raises(InputError, match=r"beta 0.3: the run was started with 0.1; restore that"):
        read_manifest(folder)
    monkeypatch.delitem(OPTIONS._known, "beta")  # its package is no longer installed
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    for use in (read_manifest, open_readonly, lambda run: check_resumption(run, NO_OPTIONS)):
        with pytest.raises(
            InputError, match=r"^run: was written with --beta, which no installed package"
        ):
            use(folder)
    assert {path: path.read_bytes() for path in folder.path.iterdir()} == before


def test_a_stop_while_a_budget_is_raised_is_no_damage(
    run: RunFolder,
) -> None:
    """A stop between writing the definition and its copies: config.yaml, then study.db."""
    record = read_manifest(run)
    before = run.config.read_bytes()
    options = check_resumption(run, parse_values({"budget": 5})).validated.resolved.options
    run.write_definition(SearchDefinition.of(options, DATA, record.definition.initial_params))
    after = run.config.read_bytes()
    for config in (before, after):
        run.config.write_bytes(config)
        again = read_manifest(run)
        assert again.damaged == {}
        assert again.options.budget == 5
    run.config.write_bytes(before)
    load_study(again, resolve(options).config, SearchDefinition.of(options, DATA), Callback())
    assert run.config.read_bytes() == after


CONFIG_DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "empty options": lambda path: path.write_text("epochs: {}"),
    "unknown option": lambda path: path.write_text("epochz: 4"),
    "cut within a word": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "cut at a line": lambda path: path.write_bytes(path.read_bytes().partition(b"store")[0]),
    "another number": lambda path: path.write_text(
        path.read_text().replace("budget: 3", "budget: 9")
    ),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
}


@pytest.mark.parametrize("name", CONFIG_DAMAGE)
def test_config_yaml_is_made_again_from_the_study(run: RunFolder, name: str) -> None:
    before = run.config.read_text()
    CONFIG_DAMAGE[name](run.config)
    study, (message,) = reopened(run)
    assert message.startswith("run/config.yaml: damaged (")
    assert run.config.read_text() == before
    assert len(study.trials) == 2
    assert len(list((run.path / "damaged").glob("*"))) == (name != "gone")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")])
def test_the_definition_is_made_again_from_the_study(
    run: RunFolder, damage: Callable[[Path], object]
) -> None:
    before = run.definition.read_bytes()
    damage(run.definition)
    study, (message,) = reopened(run)
    assert message.startswith("run/.definition.json: damaged (it ")
    assert run.definition.read_bytes() == before
    assert len(study.trials) == 2


def _replace_by_a_foreign_one(run: RunFolder) -> None:
    run.database.unlink()
    with closing(sqlite3.connect(run.database)) as database:
        database.execute("CREATE TABLE trials (x)")


DATABASE_DAMAGE: dict[str, Callable[[RunFolder], object]] = {
    "gone": lambda run: run.database.unlink(),
    "empty": lambda run: run.database.write_bytes(b""),
    "text": lambda run: run.database.write_text("no database\n" * 500),
    "cut": lambda run: run.database.write_bytes(run.database.read_bytes()[:40_000]),
    "foreign": _replace_by_a_foreign_one,
    "value": lambda run: change(run, "UPDATE trial_values SET value = value + 1"),
    "curve": lambda run: change(
        run, "UPDATE trial_intermediate_values SET intermediate_value = 1 WHERE step = 2"
    ),
    "parameter": lambda run: change(
        run, "UPDATE trial_params SET param_value = 1 - param_value WHERE param_value IN (0, 1)"
    ),
    "reference": lambda run: change(
        run,
        "UPDATE study_user_attributes SET value_json = replace(value_json, '5.0', '6.0') "
        "WHERE key = 'spent'",
    ),
    "fact": lambda run: change(
        run,
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '{', '{\"x\": 1, ')"
        " WHERE key = 'facts'",
    ),
    "attribute": lambda run: change(run, "UPDATE trial_user_attributes SET value_json = '{'"),
    "state": lambda run: change(run, "UPDATE trials SET state = 'ODD'"),
    "definition": lambda run: change(run, "UPDATE study_user_attributes SET value_json = '[1]'"),
    "a definition's name": lambda run: change(
        run, "UPDATE study_user_attributes SET key = 'definitioo' WHERE key = 'definition'"
    ),
    "a name in the definition": lambda run: change(
        run,
        "UPDATE study_user_attributes SET value_json = replace(value_json, 'options', 'optionr')",
    ),
    "a number in the definition": lambda run: change(
        run, "UPDATE study_user_attributes SET value_json = replace(value_json, ': 3,', ': 7,') "
        "WHERE key = 'definition'"
    ),
    "the study's name": lambda run: change(run, "UPDATE studies SET study_name = 'x'"),
    "what a pruner noted": lambda run: change(
        run, "UPDATE trial_system_attributes SET value_json = '{}'"
    ),
    "a state": lambda run: change(run, "UPDATE trials SET state = 'PRUNED'"),
    "a header": lambda run: run.database.write_bytes(
        run.database.read_bytes()[:18] + b"\x09" + run.database.read_bytes()[19:]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DATABASE_DAMAGE)
def test_a_damaged_study_is_named_and_begun_again(run: RunFolder, name: str) -> None:
    DATABASE_DAMAGE[name](run)
    if name != "gone":
        with pytest.raises(InputError, match=r"study\.db: is damaged .*--resume run rebuilds it"):
            open_readonly(run)
    study, messages = reopened(run)
    assert (study.trials, study.damage()) == ([], None)
    assert definition_of(study).data == DATA
    aside = [path.name for path in (run.path / "damaged").glob("*")]
    (message,) = messages
    assert message.startswith("run/study.db: damaged (")
    assert message.endswith("written again, its trials restart from the store")
    if name != "gone":
        assert len(aside) == 1 and aside[0].startswith("study.db-")
        assert "moved to run/damaged" in message
    assert len(run_trials(study, 2)) == 2
    assert open_readonly(run).damage() is None


def test_without_any_definition_there_is_no_way_on(run: RunFolder) -> None:
    run.definition.unlink()
    run.database.write_bytes(b"\x00")
    with pytest.raises(InputError, match=r"can't be read .*start a new run"):
        read_manifest(run)


def test_a_damaged_definition_in_the_study_is_not_believed(run: RunFolder) -> None:
    """Even if it is the only one: config.yaml alone cannot tell a new budget from a typo."""
    run.definition.unlink()
    change(
        run, "UPDATE study_user_attributes SET value_json = replace(value_json, ': 3,', ': 7,') "
        "WHERE key = 'definition'",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"can't be read .*its definition fails its checksum"):
        read_manifest(run)


def test_the_definition_alone_makes_a_run_again(run: RunFolder) -> None:
    before = run.config.read_text()
    run.config.unlink()
    run.database.unlink()
    study, messages = reopened(run)
    assert (study.trials, len(messages)) == ([], 2)
    assert run.config.read_text() == before


def test_the_version_in_a_comment_is_no_part_of_it(run: RunFolder) -> None:
    text = run.config.read_text()
    run.config.write_text(text.replace(text.splitlines()[0], "# dgkd-search 99.0. Repeat with"))
    assert read_manifest(run).damaged == {}


def test_another_version_is_left_alone(run: RunFolder) -> None:
    run.write_definition(replace(read_manifest(run).definition, training=99))
    before = run.database.read_bytes()
    with pytest.raises(InputError, match="was made by another version"):
        read_manifest(run)
    assert run.database.read_bytes() == before


def test_what_the_system_refuses_is_no_damage(run: RunFolder) -> None:
    before = run.database.read_bytes()
    blocker = sqlite3.connect(run.database, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    at_once = functools.partial(sqlite3.connect, timeout=0.01)
    with (
        mock.patch("sqlite3.connect", at_once),
        pytest.raises(InputError, match=r"study\.db: can't be opened \(database is locked"),
    ):
        read_manifest(run)
    blocker.close()
    assert run.database.read_bytes() == before
    assert len(open_readonly(run).trials) == 2


def test_a_run_from_before_runs_could_be_resumed_is_refused(run: RunFolder) -> None:
    change(run, "DELETE FROM study_user_attributes")
    run.definition.unlink()
    with pytest.raises(InputError, match=r"another version \(format and training \(0, None\)"):
        read_manifest(run)


def test_a_stop_before_the_definition_loses_nothing(run: RunFolder) -> None:
    change(run, "DELETE FROM study_user_attributes")
    for table in ("trial_values", "trial_intermediate_values", "trial_params", "trials"):
        change(run, f"DELETE FROM {table}")
    study, messages = reopened(run)
    assert (study.trials, messages) == ([], [])
    assert definition_of(study).data == DATA


def test_a_study_of_given_first_trials_goes_on_with_them(tmp_path: Path) -> None:
    resolved = resolve(parse_options({**SAID, "concurrency": 1, "no_reference": True}))
    run = RunFolder(tmp_path / "run")
    config = make_config()
    with run.begin():
        probe = ChainStudy(config)
        first = [dict(params) for params in list(probe.space.all_params())[5:8]]
        create_study(run, config, SearchDefinition.of(resolved.options, DATA, first))
    record = read_manifest(run)
    assert record.definition.initial_params == tuple(first)


def test_a_run_of_somebody_else_does_not_choose_what_is_imported(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = read_manifest(run).definition
    run.write_definition(replace(definition, options={**definition.options, "models": "evil"}))
    stranger = run.definition.stat().st_uid + 1
    monkeypatch.setattr("os.getuid", lambda: stranger)
    with pytest.raises(InputError, match="would import evil, and isn't your folder"):
        read_manifest(run)
    with pytest.raises(InputError, match="would import evil"):
        open_readonly(run)
