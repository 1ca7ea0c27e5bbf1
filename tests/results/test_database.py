"""A study.db of other people: nothing in it runs when it is read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from unittest import mock

import pytest

from dgkd_search.errors import InputError
from dgkd_search.results.database import DamagedFile, beside_database, read_definition
from dgkd_search.study.study import STUDY_NAME
from dgkd_search.utils.hashing import to_checksummed_json

TABLES = """
    CREATE TABLE studies (study_id INTEGER, study_name VARCHAR(512));
    CREATE TABLE study_user_attributes (study_id INTEGER, key VARCHAR(512), value_json TEXT);
    CREATE TABLE trials (trial_id INTEGER);
"""
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    definition = to_checksummed_json({"options": {}}).decode()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(TABLES)
        database.execute("INSERT INTO studies VALUES (1, ?)", (STUDY_NAME,))
        database.execute(
            "INSERT INTO study_user_attributes VALUES (1, 'definition', ?)", (definition,)
        )
        database.commit()
    assert read_definition(path) == {"options": {}}
    return path


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (["CREATE TRIGGER t INSERT ON trials BEGIN SELECT 1; END"], "trigger 't'"),
        (
            [
                "DROP TABLE studies",
                f"CREATE VIEW studies AS {ENDLESS} SELECT x AS study_id, x AS study_name FROM n",
            ],
            "view 'studies'",
        ),
        (["CREATE VIRTUAL TABLE v USING fts5(x)"], "table 'v'"),
        (["ALTER TABLE studies ADD c AS (zeroblob(999999999))"], "generated column 'c'"),
        (['CREATE VIEW "a\x1b[2J\nb" AS SELECT 1'], r"view 'a\x1b[2J b'"),
    ],
)
def test_what_would_run_when_it_is_read_is_named(
    path: Path, statements: list[str], kind: str
) -> None:
    change(path, *statements)
    with pytest.raises(InputError) as caught:
        read_definition(path)
    (message,) = caught.value.messages
    assert f"contains the {kind}, which no search writes; remove it" in message


@pytest.mark.timeout(60)
def test_values_and_files_without_limit_are_damage(path: Path) -> None:
    value = "hex(zeroblob(9000000))"
    change(path, f"UPDATE study_user_attributes SET value_json = {value}")
    with pytest.raises(DamagedFile, match="too big"):
        read_definition(path)
    os.truncate(path, 2**40)
    with pytest.raises(DamagedFile, match="is larger than 256 MB, the limit"):
        read_definition(path)


def test_a_query_takes_a_limited_number_of_steps(path: Path) -> None:
    rows = f"{ENDLESS} INSERT INTO many SELECT x FROM n LIMIT 200000"
    change(path, "CREATE TABLE many (x)", rows)
    assert read_definition(path) == {"options": {}}
    with (
        mock.patch("dgkd_search.results.database.DATABASE_STEPS", 10**5),
        pytest.raises(DamagedFile, match="interrupted"),
    ):
        read_definition(path)


def test_the_number_of_trials_is_limited(path: Path) -> None:
    change(path, f"{ENDLESS} INSERT INTO trials SELECT x FROM n LIMIT 50000")
    assert read_definition(path) == {"options": {}}
    change(path, "INSERT INTO trials SELECT 50001")
    with pytest.raises(DamagedFile, match="more than 50,000 trials, the limit"):
        read_definition(path)


@pytest.mark.timeout(20)
def test_pipes_are_not_opened(path: Path) -> None:
    for beside in beside_database(path):
        for make in (os.mkfifo, os.mkdir, lambda link: link.symlink_to("/dev/zero")):
            make(beside)
            with pytest.raises(DamagedFile, match=f"{beside.name} is not a regular file"):
                read_definition(path)
            beside.rename(path.parent / f"{beside.name}-{make.__name__}")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedFile, match="it is not a regular file"):
        read_definition(path)


def test_a_journal_of_several_databases_deletes_no_file(path: Path, tmp_path: Path) -> None:
    """SQLite would delete the file that the end of a journal names."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    name = os.fsencode(victim)
    journal = path.with_name("study.db-journal")
    magic = bytes.fromhex("d9d505f920a163d7")
    numbers = (0, 0, path.stat().st_size // 4096, 512, 4096)
    head = magic + b"".join(number.to_bytes(4, "big") for number in numbers)
    end = (0x40000000 // 4096 + 1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big")
    journal.write_bytes(head.ljust(512, b"\0") + end + sum(name).to_bytes(4, "big") + magic)
    with pytest.raises(DamagedFile, match="its journal names another database"):
        read_definition(path)
    assert victim.read_text() == "mine"
