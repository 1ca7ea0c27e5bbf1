"""The location of a run, and config.yaml, which repeats it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgkd_search.config.options import Options
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import read_config
from dgkd_search.errors import DgkdError, InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.manifest import read_manifest
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.workflows.resume import create_study


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


DEFINITION = SearchDefinition.of(Options(), "f" * 32, None)


def begun(**said: Any) -> RunFolder:
    """A run whose study was just created."""
    resolved = resolve(parse_options({"concurrency": 1, "out": "run", **said}))
    run = RunFolder.choose(resolved.options)
    with run.begin():
        create_study(run, resolved.config, SearchDefinition.of(resolved.options, "f" * 32))
    return run


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
        run = RunFolder.choose(Options(family="resnet"))
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
    assert "is not a folder" in refusal("file")
    assert "is not a folder" in refusal("link")
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
    assert "must not contain ?, %, { or }" in refusal(name)
    (tmp_path / name).mkdir()
    for file in ("config.yaml", "study.db"):
        (tmp_path / name / file).touch()
    with pytest.raises(InputError, match="rename the folder"):
        read_manifest(RunFolder(name))


@pytest.mark.parametrize("name", ["a b", "a#b", "é", "a:b", "a@b", "a&b=c", "'"])
def test_a_study_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    run = begun(out=name)
    assert run.database.is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert read_manifest(run).definition is not None


SAID: list[dict[str, Any]] = [
    {},
    {"drop_prob": "0.1234567:0.5", "guidance": "sequential,dense", "tune": "lr", "lr": "3e-7"},
    {"dataset": "imagefolder", "data_dir": "/x: y #z", "assistants": "none", "time_budget": "2h"},
    {"seed": 2**60 + 1, "store": "no", "no_reference": True, "concurrency": 1},
]


@pytest.mark.parametrize("said", SAID)
def test_config_yaml_repeats_the_search(tmp_path: Path, said: dict[str, Any]) -> None:
    resolved = resolve(parse_options({**said, "out": "run", "quiet": True}))
    run = RunFolder.choose(resolved.options)
    with run.begin():
        run.write_definition(SearchDefinition.of(resolved.options, "f" * 32, None))
    names = sorted(p.name for p in run.path.iterdir())
    assert names == [".definition.json", ".lock", "config.yaml"]
    problems: list[str] = []
    again = parse_options(read_config(run.config, problems))
    assert problems == []
    assert (again.out, again.quiet) == (None, False)  # a repeated search gets another folder
    assert resolve(again).config == resolved.config
    assert resolve(again).resources == resolved.resources
    assert replace(resolved.options, out=None, quiet=False) == read_manifest(run).options


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "deep/er"):
        run = RunFolder(name)
        with pytest.raises(InputError, match="bad"), run.begin():
            run.write_definition(DEFINITION)
            (run.path / "study.db").touch()
            run.stores.mkdir()
            raise InputError("bad")
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_bad_input_after_the_work_takes_nothing_away(tmp_path: Path) -> None:
    run = RunFolder("run")
    with pytest.raises(InputError, match="late"), run.begin():
        run.write_definition(DEFINITION)
        run.keep()
        raise InputError("late")
    assert run.config.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, DgkdError])
def test_other_ends_keep_a_run_that_has_begun(tmp_path: Path, error: type[BaseException]) -> None:
    for name, kept in (("early", False), ("late", True)):
        run = RunFolder(name)
        with pytest.raises(error), run.begin():
            if kept:
                run.write_definition(DEFINITION)
            raise error("x")
        assert run.config.exists() == run.path.exists() == kept


def test_a_folder_has_one_driver_and_others_are_told_who(tmp_path: Path) -> None:
    run = RunFolder("run")
    with run.begin():
        run.write_definition(DEFINITION)
        for intrude in (RunFolder("run").hold, RunFolder("run").begin):
            with pytest.raises(InputError) as caught, intrude():
                pass
            assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in str(caught.value)
        (run.path / ".driver.json").write_text("[]")
        with pytest.raises(InputError, match="a search is running there; wait"), run.hold():
            pass
    with run.hold():
        assert run.config.exists()
    with pytest.raises(InputError, match="--resume run"), RunFolder("run").begin():
        pass


def test_whoever_is_refused_leaves_the_lock(tmp_path: Path) -> None:
    """A driver locks its folder before it writes the description of the run."""
    with RunFolder("run").begin():
        for _ in range(2):
            with pytest.raises(InputError, match="is running"), RunFolder("run").begin():
                pass
    assert not Path("run").exists()


def test_what_a_killed_driver_was_writing_goes(tmp_path: Path) -> None:
    with RunFolder("run").begin():
        RunFolder("run").write_definition(DEFINITION)
    (tmp_path / "run" / ".tmp-0123456789ab-student.safetensors").write_bytes(b"half")
    (tmp_path / "run" / ".tmp-0123456789ab-.stores").mkdir()
    with RunFolder("run").hold():
        assert not list((tmp_path / "run").glob(".tmp-*"))


def test_a_killed_drivers_folder_is_free(tmp_path: Path) -> None:
    code = (
        "import os; from dgkd_search.results.run_folder import RunFolder\n"
        "with RunFolder('run').begin(): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert RunFolder.choose(Options(out="run")).path == Path("run")
    with RunFolder("run").begin():
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_two_searches_of_one_second_get_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda form, at=None: "now")
    one, two = (RunFolder.choose(Options(family="resnet")) for _ in range(2))
    assert one.path == two.path
    with one.begin(), two.begin():
        assert (one.path.name, two.path.name) == ("digits-resnet-now", "digits-resnet-now-2")
