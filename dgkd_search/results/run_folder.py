"""The run folder: where a search's results lie, what repeats it, and who works on it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from dgkd_search.config.options import Options
from dgkd_search.config.yaml_file import to_yaml
from dgkd_search.errors import InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.utils.files import (
    TEMPORARY,
    make_folder,
    new_folder,
    quarantine,
    remove_empty,
    remove_file,
    remove_folder,
    write_bytes,
    write_error,
)
from dgkd_search.utils.hashing import UNREADABLE, to_checksummed_json, to_json

_CONFIG = "config.yaml"
_LOCK, _HOLDER, _STORES = ".lock", ".driver.json", ".stores"
_DEFINITION = ".definition.json"


class RunFolder:
    """Paths of one run, and the lock that one driver at a time holds.

    Args:
        path: of the folder.
        fresh: whether its name was made up, so that another may be taken.
    """

    def __init__(self, path: Path | str, fresh: bool = False) -> None:
        self.path = Path(path)
        self._fresh = fresh
        self._kept = False

    @property
    def config(self) -> Path:
        return self.path / _CONFIG

    @property
    def database(self) -> Path:
        return self.path / "study.db"

    @property
    def trials(self) -> Path:
        return self.path / "trials.csv"

    @property
    def best(self) -> Path:
        return self.path / "best.yaml"

    @property
    def student(self) -> Path:
        return self.path / "student.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def figure(self) -> Path:
        """Accuracy over the number of assistants; a PNG file of the same name lies beside it."""
        return self.path / "accuracy_vs_assistants.svg"

    @property
    def definition(self) -> Path:
        """What config.yaml and study.db are compared with, under a checksum."""
        return self.path / _DEFINITION

    @property
    def damaged(self) -> Path:
        """Where damaged files are moved to."""
        return self.path / "damaged"

    @property
    def stores(self) -> Path:
        """Where trials that share nothing keep what they train, until the search is over."""
        return self.path / _STORES

    @classmethod
    def choose(cls, options: Options) -> RunFolder:
        """Where a new run goes; nothing is written yet.

        Raises:
            InputError: the folder holds something already, or can't be written.
        """
        if options.out is None:
            name = f"{options.dataset}-{options.family}-{time.strftime('%Y%m%d-%H%M%S')}"
            run = cls(Path("runs") / name, fresh=True)
            while run.path.exists():
                run._move_on(name)
        else:
            run = cls(Path(options.out).expanduser())
        _check_writable(run.path)
        return run

    @contextlib.contextmanager
    def begin(self) -> Iterator[None]:
        """Make the folder and hold it; it is gone again if the input turns out to be bad.

        Raises:
            InputError: another search has begun there since the folder was chosen.
        """
        created = self._make()
        try:
            with self.hold():
                _check_unused(self.path)
                try:
                    yield
                except InputError:
                    if not self._kept:
                        self._empty()
                    raise
                finally:
                    if not self.config.exists():
                        self._empty()
                        remove_file(self.path / _LOCK)  # as long as it is ours
        finally:
            if not self.config.exists():
                for folder in created:
                    remove_empty(folder)

    def keep(self) -> None:
        """From now on the folder holds something: it stays, whatever turns out."""
        self._kept = True

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other drivers out; the lock of one that is killed is released by the system.

        Raises:
            InputError: another one holds it, or the folder can't be written.
        """
        lock = FileLock(self.path / _LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except TimeoutError:
            raise InputError(
                f"{self.path}: a search is running there{self._holder()}; wait for its end or "
                "interrupt it"
            ) from None
        except OSError as error:
            raise InputError(
                f"{self.path}: can't be written ({error.strerror}); mend that, or copy the folder"
            ) from None
        try:
            for left in self.path.glob(f"{TEMPORARY}*"):  # of a driver that was killed
                remove_folder(left)
            who = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
            write_bytes(self.path / _HOLDER, to_json(who))
            yield
        finally:
            remove_file(self.path / _HOLDER)
            lock.release()

    def write_definition(self, definition: SearchDefinition) -> None:
        """Make or replace what says what the search is: for us, and as config.yaml for users."""
        write_bytes(self.definition, to_checksummed_json(definition.to_json()))
        write_bytes(self.config, self.config_text(definition.options))

    def config_text(self, options: Mapping[str, object]) -> bytes:
        """config.yaml of these options: resolved, by their names in it."""
        text = (
            f"# dgkd-search {version('dgkd-search')}. Repeat this search with\n"
            f"#   dgkd-search --config {_CONFIG}\n"
        )
        return (text + to_yaml(options)).encode()

    def quarantine(self, path: Path) -> Path | None:
        """Move a damaged file of the run out of the way; None if it is gone already."""
        return quarantine(path, self.damaged)

    def _make(self) -> list[Path]:
        """Make the folder; those that weren't there, the deepest first."""
        name = self.path.name
        while True:
            created = [p for p in (self.path, *self.path.parents) if not p.exists()]
            if not self._fresh:
                make_folder(self.path)
                return created
            make_folder(self.path.parent)
            try:
                new_folder(self.path)
                return created
            except FileExistsError:
                self._move_on(name)  # two searches of one second

    def _move_on(self, name: str) -> None:
        tail = self.path.name.removeprefix(name).lstrip("-")
        self.path = self.path.with_name(f"{name}-{int(tail or 1) + 1}")

    def _empty(self) -> None:
        for path in self.path.iterdir():
            if path.name != _LOCK:
                remove_folder(path)

    def _holder(self) -> str:
        """Who has the lock, as far as they have said."""
        with contextlib.suppress(OSError, *UNREADABLE):
            holder = json.loads((self.path / _HOLDER).read_bytes())
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(holder["since"])))
            return (
                f" (process {int(holder['process'])} on {str(holder['host'])[:60]}, since {since})"
            )
        return ""


def name_error(path: Path) -> str | None:
    """Why a study's database can't lie there: its place is part of a URL, and a template."""
    return "its name must be free of ?, %, { and }" if set(str(path)) & set("?%{}") else None


def _check_unused(path: Path) -> None:
    if (path / _CONFIG).exists():
        raise InputError(
            f"--out {path}: holds a run already; choose a fresh folder, or go on with "
            f"--resume {path}"
        )
    ours = (_LOCK, _HOLDER, _STORES, _DEFINITION)  # of a search that was killed before it began
    names = [entry.name for entry in path.iterdir()]
    if any(name not in ours and not name.startswith(TEMPORARY) for name in names):
        raise InputError(f"--out {path}: isn't empty; choose a fresh folder")


def _check_writable(path: Path) -> None:
    if bad := name_error(path):
        raise InputError(f"--out {path}: {bad}; choose another folder")
    try:
        if path.is_dir():
            _check_unused(path)
        elif path.exists() or path.is_symlink():
            raise InputError(f"--out {path}: is no folder; choose a fresh one")
        if bad := write_error(path):
            raise InputError(f"--out {path}: {bad}; choose another folder")
    except OSError as error:
        raise InputError(
            f"--out {path}: can't be used ({error.strerror}); choose another folder"
        ) from None
