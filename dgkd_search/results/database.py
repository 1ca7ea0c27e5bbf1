"""Read files of a run, and distinguish damaged files from errors of the operating system."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from dgkd_search.errors import InputError, one_line
from dgkd_search.results.definition import DEFINITION
from dgkd_search.study.study import STUDY_NAME
from dgkd_search.utils.formatting import format_bytes
from dgkd_search.utils.hashing import UNREADABLE, verify_checksum
from dgkd_search.utils.limits import (
    DATABASE_BYTES,
    DATABASE_STEPS,
    DATABASE_TRIALS,
    DATABASE_VALUE_BYTES,
    JSON_BYTES,
    TooLarge,
    read_limited,
)

_STRIDE = 100_000  # instructions of SQLite between two looks at their number
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
# Views, triggers and virtual tables have no page of their own; generated columns are hidden.
_WITHOUT_PAGES = (
    "SELECT type, name FROM sqlite_master "
    "WHERE type NOT IN ('table', 'index') OR coalesce(rootpage, 0) = 0"
)
_COMPUTED = (
    "SELECT 'generated column', its.name FROM sqlite_master AS each, pragma_table_xinfo(each.name) "
    "AS its WHERE each.type = 'table' AND its.hidden <> 0"
)


class DamagedFile(Exception):
    """A file was changed or is damaged; the message says how."""


def read_definition(path: Path) -> dict[str, object] | None:
    """Read the definition in study.db as plain JSON types; None if there is no trial yet.

    Raises:
        DamagedFile: it is not a database, or it is inconsistent.
        FileNotFoundError: the file does not exist.
        InputError: the operating system refuses to open it.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    if why := _unfit(path):
        raise DamagedFile(why)
    try:
        with _connected(path) as database:
            _check_schema(database, path)
            (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise DamagedFile(one_line(sound))
            # Read without Optuna, which would create tables in any file.
            row = database.execute(
                "SELECT value_json FROM study_user_attributes JOIN studies USING (study_id) "
                "WHERE study_name = ? AND key = ?",
                (STUDY_NAME, DEFINITION.name),
            ).fetchone()
            if row is None:
                # Early versions wrote none, or the search was stopped before it was written.
                (trials,) = database.execute("SELECT count(*) FROM trials").fetchone()
                return {"format": 0} if trials else None
            (trials,) = database.execute("SELECT count(*) FROM trials").fetchone()
            if trials > DATABASE_TRIALS:
                raise DamagedFile(f"it has more than {DATABASE_TRIALS:,} trials, the limit")
            return verify_checksum(json.loads(row[0]), "its definition")
    except (sqlite3.DatabaseError, *UNREADABLE) as error:
        raise_if_of_the_system(error, path)
        raise DamagedFile(one_line(error)) from None


def beside_database(path: Path) -> list[Path]:
    """Return the paths of the files that SQLite reads and writes beside a database."""
    return [path.with_name(f"{path.name}-{kind}") for kind in ("journal", "wal", "shm")]


def _unfit(path: Path) -> str | None:
    """Return why SQLite must not open a file; None if it may."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_size > DATABASE_BYTES:
        return f"it is larger than {format_bytes(DATABASE_BYTES)}, the limit"
    for beside in beside_database(path):
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            return f"{beside.name} is not a regular file"
    # A journal that names a second database makes SQLite delete a file of any name. We never
    # write one.
    journal = path.with_name(f"{path.name}-journal")
    with contextlib.suppress(FileNotFoundError):
        status = journal.stat()
        with journal.open("rb") as file:
            file.seek(max(0, status.st_size - len(_JOURNAL_MAGIC)))
            if file.read() == _JOURNAL_MAGIC:
                return "its journal names another database"
    return None


def _check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Check that a database contains only tables and indices: others run when they are read.

    Raises:
        InputError: it contains a view, a trigger, or a table that a module computes.
    """
    odd = database.execute(_WITHOUT_PAGES).fetchone() or database.execute(_COMPUTED).fetchone()
    if odd is not None:
        kind, name = (one_line(str(part), 40) for part in odd)
        raise InputError(
            f"{path}: contains the {kind} '{name}', which no search writes; remove it with "
            "another program if you trust the file"
        )


def raise_if_of_the_system(error: BaseException | None, path: Path) -> None:
    """Raise an ``InputError`` if the system, not the file, caused an error.

    Such errors are a lock, missing permissions, or a disk that doesn't respond.

    Raises:
        InputError: the error is of that kind.
    """
    while error is not None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        odd = code == sqlite3.SQLITE_ERROR  # no such table
        odd |= code == sqlite3.SQLITE_INTERRUPT  # too many steps
        # A damaged header can also claim that the database is read-only.
        odd |= code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
        if isinstance(error, sqlite3.OperationalError) and not odd:
            why = one_line(error)
            raise InputError(f"{path}: can't be opened ({why}); fix that, and try again") from None
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    # Writable if possible, so that SQLite rolls back an unfinished write of a killed search.
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, DATABASE_VALUE_BYTES)
        connection.execute("PRAGMA trusted_schema = OFF")  # views and triggers call no function
        steps = itertools.count()
        # Returns true once a query takes too many steps; SQLite then interrupts it.
        connection.set_progress_handler(lambda: next(steps) >= DATABASE_STEPS // _STRIDE, _STRIDE)
        yield connection


def read_file(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        DamagedFile: it is a folder.
        FileNotFoundError: it does not exist.
        InputError: the operating system refuses to read it.
    """
    try:
        return read_limited(path, JSON_BYTES)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise DamagedFile("it is a folder") from None
    except TooLarge as error:
        raise DamagedFile(str(error)) from None
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); fix that, and try again"
        ) from None
