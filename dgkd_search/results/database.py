"""Read files of a run, and distinguish damaged files from errors of the operating system."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from dgkd_search.errors import InputError, one_line
from dgkd_search.results.definition import DEFINITION
from dgkd_search.study.study import STUDY_NAME
from dgkd_search.utils.hashing import UNREADABLE, verify_checksum


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
    try:
        with _connected(path) as database:
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
            return verify_checksum(json.loads(row[0]), "its definition")
    except (sqlite3.DatabaseError, *UNREADABLE) as error:
        raise_if_of_the_system(error, path)
        raise DamagedFile(one_line(error)) from None


def raise_if_of_the_system(error: BaseException | None, path: Path) -> None:
    """Raise an ``InputError`` if the system, not the file, caused an error.

    Such errors are a lock, missing permissions, or a disk that doesn't respond.

    Raises:
        InputError: the error is of that kind.
    """
    while error is not None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        odd = code == sqlite3.SQLITE_ERROR  # no such table
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
        yield connection


def read_file(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        DamagedFile: it is a folder.
        FileNotFoundError: it does not exist.
        InputError: the operating system refuses to read it.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise DamagedFile("it is a folder") from None
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); fix that, and try again"
        ) from None
