"""Where a run goes, and how its config.yaml repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dgkd_search.config_file import read_config
from dgkd_search.errors import InputError
from dgkd_search.options import Options
from dgkd_search.resolve import resolve
from dgkd_search.results.run import RunFolder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(out: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        RunFolder.choose(Options(out=str(out)))
    (message,) = caught.value.messages
    assert message.startswith(f"--out {out}: ")
    return message


def test_without_out_a_fresh_name_under_runs_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for expected in ("digits-resnet-now", "digits-resnet-now-2", "digits-resnet-now-3"):
        run = RunFolder.choose(Options())
        assert run.path == Path("runs") / expected
        assert not run.path.exists()
        run.path.mkdir(parents=True)


def test_a_new_or_an_empty_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "deep/er", str(tmp_path / "new")):
        assert RunFolder.choose(Options(out=name)).path == Path(name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty"]


def test_the_home_folder_has_its_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder.choose(Options(out="~/run")).path == tmp_path / "run"


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert "isn't empty" in refusal(tmp_path)
    assert "is no folder" in refusal("file")
    assert "is no folder" in refusal("link")
    (tmp_path / "config.yaml").touch()
    assert "holds a run already" in refusal(tmp_path)


def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert "not writable" in refusal(tmp_path / "file" / "run")
    assert "can't be used" in refusal("x" * 300)

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert f"{tmp_path} is not writable (Permission denied)" in refusal(tmp_path / "new")


@pytest.mark.parametrize("name", ["a{b}", "what?", "}", "%20"])
def test_a_name_that_no_database_url_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    assert "must be free of ?, %, { and }" in refusal(name)
    (tmp_path / name).mkdir()
    for file in ("config.yaml", "study.db"):
        (tmp_path / name / file).touch()
    with pytest.raises(InputError, match="rename the folder"):
        RunFolder(name).load()


@pytest.mark.parametrize("name", ["a b", "a#b", "é", "a:b", "a@b", "a&b=c", "'"])
def test_a_study_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    from dgkd_search.study import ChainStudy

    resolved = resolve(Options.parse({"concurrency": 1, "out": name}))
    run = RunFolder.choose(resolved.options)
    run.create(resolved.options)
    ChainStudy(resolved.config, run.database)
    assert run.database.is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


SAID: list[dict[str, Any]] = [
    {},
    {"drop_prob": "0.1234567:0.5", "guidance": "sequential,dense", "tune": "lr", "lr": "3e-7"},
    {"dataset": "imagefolder", "data_dir": "/x: y #z", "assistants": "none", "time_budget": "2h"},
    {"seed": 2**60 + 1, "store": "no", "no_reference": True, "concurrency": 1},
]


@pytest.mark.parametrize("said", SAID)
def test_config_yaml_repeats_the_search(tmp_path: Path, said: dict[str, Any]) -> None:
    resolved = resolve(Options.parse({**said, "out": "run", "quiet": True}))
    run = RunFolder.choose(resolved.options)
    run.create(resolved.options)
    assert [p.name for p in run.path.iterdir()] == ["config.yaml"]
    problems: list[str] = []
    again = Options.parse(read_config(run.config, problems))
    assert problems == []
    assert (again.out, again.quiet) == (None, False)  # another run goes elsewhere
    assert resolve(again).config == resolved.config
    assert resolve(again).resources == resolved.resources


def test_a_study_is_loaded_with_its_configuration(tmp_path: Path) -> None:
    from dgkd_search.study import ChainStudy

    resolved = resolve(Options.parse({"budget": 3, "concurrency": 1, "out": "run"}))
    run = RunFolder.choose(resolved.options)
    run.create(resolved.options)
    ChainStudy(resolved.config, run.database)
    study = run.load()
    assert (study.config, study.trials) == (resolved.config, [])
    run.config.write_text("budget: 0\nx: 1\nbudget: 2\n")
    with pytest.raises(InputError, match="line 3: budget stands twice"):
        run.load()
    run.config.write_text("budget: 0\nx: 1\n")
    with pytest.raises(InputError) as caught:
        run.load()
    assert len(caught.value.messages) == 2
    assert caught.value.messages[0].startswith("run/config.yaml: budget 0")


@pytest.mark.parametrize("missing", ["config.yaml", "study.db"])
def test_a_folder_that_is_no_run_is_not_loaded(tmp_path: Path, missing: str) -> None:
    for name in {"config.yaml", "study.db"} - {missing}:
        (tmp_path / name).write_text("budget: 3\n")
    with pytest.raises(InputError, match="is no run folder"):
        RunFolder(tmp_path).load()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("budget: 3\n")
    (tmp_path / "study.db").write_text("this is no database, however long it may be\n" * 50)
    with pytest.raises(InputError, match=r"study\.db: is no study"):
        RunFolder(tmp_path).load()
