"""Files of a run as they lie there: what is damaged is told from what the system keeps back."""

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
    """A file isn't what was written; says why."""


def read_definition(path: Path) -> dict[str, object] | None:
    """The definition in study.db, in plain JSON types; None where no trial was drawn yet.

    Raises:
        DamagedFile: it is no database, or doesn't hold together.
        FileNotFoundError: there is none.
        InputError: the system doesn't let it be opened.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with _connected(path) as database:
            (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise DamagedFile(one_line(sound))
            # Looked up without Optuna, which would make tables in whatever it is given.
            row = database.execute(
                "SELECT value_json FROM study_user_attributes JOIN studies USING (study_id) "
                "WHERE study_name = ? AND key = ?",
                (STUDY_NAME, DEFINITION.name),
            ).fetchone()
            if row is None:
                # None was written before runs could be resumed, or a stop came before it.
                (trials,) = database.execute("SELECT count(*) FROM trials").fetchone()
                return {"format": 0} if trials else None
            return verify_checksum(json.loads(row[0]), "its definition")
    except (sqlite3.DatabaseError, *UNREADABLE) as error:
        raise_if_of_the_system(error, path)
        raise DamagedFile(one_line(error)) from None


def raise_if_of_the_system(error: BaseException | None, path: Path) -> None:
    """Locked, without rights, a disk that doesn't answer: none of it is the file's fault.

    Raises:
        InputError: if the error is of that kind.
    """
    while error is not None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        odd = code == sqlite3.SQLITE_ERROR  # no such table
        odd |= code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)  # so says its header
        if isinstance(error, sqlite3.OperationalError) and not odd:
            why = one_line(error)
            raise InputError(f"{path}: can't be opened ({why}); mend that, and try again") from None
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    # Writable if it may be: what a killed search left half written is rolled back.
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        yield connection


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DamagedFile: it is a folder.
        FileNotFoundError: there is none.
        InputError: the system doesn't let it be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise DamagedFile("it is a folder") from None
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); mend that, and try again"
        ) from None
