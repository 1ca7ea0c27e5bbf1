"""``dgkd-search store``: its output, and that it removes only what it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.stores import (
    DAY,
    fill,
    key,
    paths,
    put_data,
    put_outputs,
    put_partial,
    put_stage,
    snapshot,
)

from dgkd_search.cli.main import main
from dgkd_search.data import PreparedData
from dgkd_search.store.inventory import list_store
from dgkd_search.store.location import default_root
from dgkd_search.store.maintenance import FREEABLE
from dgkd_search.store.store import Store
from dgkd_search.utils.files import size_of
from dgkd_search.utils.formatting import format_bytes


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def store() -> Store:
    """The default store."""
    return Store(default_root())


def run(capsys: pytest.CaptureFixture[str], words: str = "", code: int = 0) -> list[str]:
    assert main(["store", *words.split()]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["store", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dgkd-search: ")
    assert err.count("\n") == 1
    return err


def cells(line: str) -> list[str]:
    return re.split(" {2,}", line.strip())


def test_the_default_store_is_in_the_users_cache(tmp_path: Path) -> None:
    assert default_root() == tmp_path / "cache" / "dgkd-search" / "store"


def test_the_list_sums_every_kind(
    store: Store, digits: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, digits)
    lines = run(capsys)
    assert lines[0] == f"store {store.root}"
    assert lines[1] == "searches recorded 0, running 0; trials running 0"
    assert [cells(line)[:2] for line in lines[4:11]] == [
        ["finished stages", "1"],
        ["unfinished stages", "1"],
        ["arrays of outputs", "2"],
        ["prepared datasets", "1"],
        ["damaged entries, moved aside", "1"],
        ["leftovers of killed processes", "1"],
        ["total", "7"],
    ]
    total = format_bytes(sum(entry.size for entry in list_store(store).entries))
    assert cells(lines[10])[2] == total


def test_stages_are_listed_the_last_used_first(
    store: Store, digits: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    put_data(store, digits, age=30 * DAY)
    folders = [
        put_stage(store, "resnet14", 5 * DAY, data="e" * 32, accuracy=95.0),
        put_stage(store, "resnet8", 7200, data=digits.info.fingerprint),
        put_stage(store, "resnet20", 9 * DAY, data=digits.info.fingerprint, accuracy=97.5),
    ]
    for bank in range(3):
        put_outputs(store, "resnet20", bank, 3 * DAY)
    for run_folder in ("/home/u/runs/first", "runs/second", "runs/third"):
        with store.lease("search", run_folder) as lease:
            lease.add([key("resnet14")])
    lines = run(capsys)
    assert lines[1].startswith("searches recorded 3, running 0;")
    head = next(i for i, line in enumerate(lines) if line.startswith("model"))
    sizes = [format_bytes(size_of(folder)) for folder in folders]
    size = format_bytes(sum(map(size_of, paths(store, "outputs"))) / 3)
    assert [cells(line) for line in lines[head + 1 : head + 5]] == [
        ["resnet14", "eeeeeeee", "1", "95.00", sizes[0], "-", "now", "third, second +1"],
        ["resnet8", "digits", "1", "50.00", sizes[1], "-", "2 h ago", "-"],
        ["resnet20", "digits", "1", "97.50", sizes[2], f"3 x {size}", "3 d ago", "-"],
        [""],
    ]
    assert cells(lines[-1])[:2] == ["digits", "150"]
    assert cells(lines[-1])[-1] == "2 h ago"  # the last use of the stage that was trained on it


def test_help_names_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["store", "--help"])
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert out.startswith("usage: dgkd-search store")
    assert all(word in out for word in FREEABLE)


def test_an_empty_store_is_listed_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, f"--store {store.root}")
    assert cells(lines[-1]) == ["total", "0", "0 B"]


def test_odd_names_are_made_printable(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put_stage(store, "x\n\x1b[2J" + "y" * 99, data="\x1b]")
    with store.lease("search", "runs/a\x07\nb") as lease:
        lease.add([key("x\n\x1b[2J" + "y" * 99)])
        lines = run(capsys)
    assert all(line.isprintable() for line in lines)
    assert lines[-1].startswith(r"x\n\x1b[2Jyyy")
    assert lines[-1].endswith(r"a\x07\nb")
    assert len(lines[-1]) < 120


def test_who_runs_is_counted(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with store.lease("search", "run") as search, store.lease("trial") as trial:
        search.add(["a"])
        trial.add(["a"])
        assert "recorded 1, running 1; trials running 1" in run(capsys)[1]
    assert "recorded 1, running 0; trials running 0" in run(capsys)[1]


def test_a_sound_store_is_verified(
    store: Store, digits: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, digits)
    before = snapshot(store.root)
    assert run(capsys, "--verify")[-1].startswith("no damage found")
    assert snapshot(store.root) == before


def test_damage_is_named_and_ends_with_one(
    store: Store, digits: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, digits)
    (put_stage(store, "x") / "weights.safetensors").write_bytes(b"")
    (put_outputs(store, "y") / "logits.npy").write_bytes(b"")
    lines = run(capsys, "--verify", 1)
    assert len(lines) == 4
    assert all("moved to" in line and "recreated when needed" in line for line in lines[1:3])
    assert lines[-1].startswith("2 damaged, moved aside; `--free damaged`")
    assert run(capsys, "--verify")[-1].startswith("no damage found")
    assert run(capsys, "--free damaged")[0].endswith(
        "3 damaged entries, moved aside, 1 leftover of a killed process"
    )
    assert paths(store, "damaged") == set()


def test_freeing_says_what_is_gone(
    store: Store, digits: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, digits)
    said = run(capsys, "--free all --dry-run")
    assert said[-1] == "nothing was deleted (--dry-run)"
    assert len(paths(store)) == 7
    done = run(capsys, "--free all")
    assert done == [said[0].replace("would free", "freed")]
    assert "1 finished stage, 1 unfinished stage, 2 arrays of outputs, " in done[0]
    assert paths(store) == set()
    assert run(capsys, "--free all") == ["freed 0 B: nothing"]


def test_freeing_says_what_was_kept(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put_stage(store, "used")
    put_partial(store, "trained")
    with store.lease("trial") as lease, store.lock(key("trained")):
        lease.add([key("used")])
        assert run(capsys, "--free all") == [
            "freed 0 B: nothing",
            "kept, as running searches or trials may use them: "
            "1 finished stage, 1 unfinished stage",
        ]
    assert len(paths(store)) == 2


@pytest.mark.parametrize(("age", "left"), [("2d", {"new"}), ("1w", None), ("30d", {"new", "old"})])
def test_only_what_is_old_is_freed(
    store: Store, capsys: pytest.CaptureFixture[str], age: str, left: set[str] | None
) -> None:
    for name, days in (("new", 1), ("old", 3)):
        put_stage(store, name, days * DAY)
    if left is None:
        assert "--older-than 1w: must be a time" in refused(
            capsys, "--free", "stages", "--older-than", age
        )
        return
    run(capsys, f"--free stages --older-than {age}")
    assert {path.name for path in paths(store)} == set(map(key, left))


BAD = {
    "free what": (["--free", "everything"], f"choose from {', '.join(FREEABLE)}"),
    "free nothing": (["--free", ""], "--free '': unknown"),
    "free": (["--free"], "expected one argument"),
    "age": (["--free", "all", "--older-than", "-3"], "must be a time above 0"),
    "age alone": (["--older-than", "3d"], "--older-than: needs --free; add --free"),
    "dry alone": (["--dry-run"], "--dry-run: needs --free; add --free"),
    "both": (["--verify", "--free", "all"], "exclude each other"),
    "word": (["list"], "list: unexpected argument"),
    "option": (["--verfy"], "did you mean --verify"),
    "home": (["--store", "~nobody-at-all/x"], "home"),
    "none": (["--store", "none"], "--store none: must be a folder"),
    "empty": (["--store", ""], "--store '': must be the path of a file or a folder"),
}


@pytest.mark.parametrize(("words", "rule"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], rule: str
) -> None:
    put_stage(store, "x")
    assert rule in refused(capsys, *words)
    assert len(paths(store)) == 1


@pytest.mark.parametrize("words", ["", "--verify", "--free all", "--free all --dry-run"])
@pytest.mark.parametrize("place", [None, "missing", "a folder", "a file"])
def test_where_no_store_is_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, place: str | None
) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    named = [] if place is None else ["--store", place]
    assert ": not found; run a search" in refused(capsys, *named, *words.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_that_lost_its_mark_is_one_still(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_stage(Store(tmp_path), "a")
    (tmp_path / "format.json").unlink()
    assert main(["store", "--verify", "--store", str(tmp_path)]) == 0
    assert (tmp_path / "format.json").exists()
    assert Store(tmp_path).get(key("a")) is not None
    (tmp_path / "format.json").write_text("{")
    capsys.readouterr()
    assert main(["store", "--verify", "--store", str(tmp_path)]) == 1
    assert "format.json: damaged (" in capsys.readouterr().out
    assert main(["store", "--verify", "--store", str(tmp_path)]) == 0


def test_what_is_no_record_of_a_search_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    with store.lease("search", "earlier") as lease:
        lease.add([key("b")])
    (record,) = (tmp_path / "users").glob("*.json")
    changed = record.read_text().replace("earlier", "earliar")
    record.unlink()
    for name, text in (("one", "{"), ("two", "[]"), ("three", changed)):
        (tmp_path / "users" / f"{name}.json").write_text(text)
    with store.lease("search", "run") as lease:
        lease.add([key("a")])
        assert main(["store", "--verify", "--store", str(tmp_path)]) == 1
    out, _ = capsys.readouterr()
    assert out.count("not a readable record of a user") == 3
    assert [path.suffix for path in (tmp_path / "users").glob("*.json")] == [".json"]
    assert main(["store", "--verify", "--store", str(tmp_path)]) == 0


def test_a_store_of_another_format_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "format.json").write_text('{"format": 99}')
    (tmp_path / "stages").mkdir()
    assert "its format is 99" in refused(capsys, "--store", str(tmp_path), "--free", "all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["format.json", "stages"]


def test_it_starts_without_what_training_needs(store: Store) -> None:
    put_stage(store, "x")
    script = (
        "import sys\nfrom dgkd_search.cli.main import main\nassert main(['store']) == 0\n"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'matplotlib', 'sklearn', 'PIL'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "finished stages" in done.stdout
