"""The run folder: paths of the results, config.yaml, and a lock."""

from __future__ import annotations

import contextlib
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
from dgkd_search.utils.limits import read_json

_CONFIG = "config.yaml"
_LOCK, _HOLDER, _STORES = ".lock", ".driver.json", ".stores"
_DEFINITION = ".definition.json"


class RunFolder:
    """The paths of one run, and the lock that one driver at a time holds.

    Args:
        path: of the folder.
        fresh: whether the name was generated, so that another one may be chosen.
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
        """The SVG of accuracy versus number of assistants; a PNG of the same name is beside it."""
        return self.path / "accuracy_vs_assistants.svg"

    @property
    def definition(self) -> Path:
        """The definition of the search, under a checksum; config.yaml and study.db must match."""
        return self.path / _DEFINITION

    @property
    def damaged(self) -> Path:
        """The folder to which damaged files are moved."""
        return self.path / "damaged"

    @property
    def stores(self) -> Path:
        """The folder of private stores, for trials that share nothing; removed after the search."""
        return self.path / _STORES

    @classmethod
    def choose(cls, options: Options) -> RunFolder:
        """Choose the folder of a new run; nothing is written yet.

        Raises:
            InputError: the folder isn't empty, or it can't be written.
        """
        if options.out is None:
            name = f"{options.dataset}-{options.family}-{time.strftime('%Y%m%d-%H%M%S')}"
            run = cls(Path("runs") / name, fresh=True)
            while run.path.exists():
                run._next_name(name)
        else:
            run = cls(Path(options.out).expanduser())
        _check_writable(run.path)
        return run

    @contextlib.contextmanager
    def begin(self) -> Iterator[None]:
        """Create the folder and lock it; on bad input it is removed again.

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
                        remove_file(self.path / _LOCK)  # while we still hold it
        finally:
            if not self.config.exists():
                for folder in created:
                    remove_empty(folder)

    def keep(self) -> None:
        """Keep the folder from now on, even on bad input."""
        self._kept = True

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the folder against other drivers; the system releases the lock of a killed one.

        Raises:
            InputError: another driver holds the lock, or the folder can't be written.
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
                f"{self.path}: can't be written ({error.strerror}); fix that, or copy the folder"
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
        """Write the definition to ``.definition.json`` and, for users, to config.yaml."""
        write_bytes(self.definition, to_checksummed_json(definition.to_json()))
        write_bytes(self.config, self.config_text(definition.options))

    def config_text(self, options: Mapping[str, object]) -> bytes:
        """Return the text of config.yaml for resolved options, by their names in it."""
        text = (
            f"# dgkd-search {version('dgkd-search')}. Repeat this search with\n"
            f"#   dgkd-search --config {_CONFIG}\n"
        )
        return (text + to_yaml(options)).encode()

    def quarantine(self, path: Path) -> Path | None:
        """Move a damaged file to ``damaged``; return its new path, None if it no longer exists."""
        return quarantine(path, self.damaged)

    def _make(self) -> list[Path]:
        """Create the folder; return the created folders, the deepest first."""
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
                self._next_name(name)  # two searches began in the same second

    def _next_name(self, name: str) -> None:
        tail = self.path.name.removeprefix(name).lstrip("-")
        self.path = self.path.with_name(f"{name}-{int(tail or 1) + 1}")

    def _empty(self) -> None:
        for path in self.path.iterdir():
            if path.name != _LOCK:
                remove_folder(path)

    def _holder(self) -> str:
        """Return who holds the lock, in words; empty if unknown."""
        with contextlib.suppress(OSError, *UNREADABLE):
            holder = read_json(self.path / _HOLDER)
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(holder["since"])))
            return (
                f" (process {int(holder['process'])} on {str(holder['host'])[:60]}, since {since})"
            )
        return ""


def name_error(path: Path) -> str | None:
    """Return why a path can't hold the study's database; it is part of a URL and a template."""
    return "its name must not contain ?, %, { or }" if set(str(path)) & set("?%{}") else None


def _check_unused(path: Path) -> None:
    if (path / _CONFIG).exists():
        raise InputError(
            f"--out {path}: holds a run already; choose a new folder, or resume it with "
            f"--resume {path}"
        )
    ours = (_LOCK, _HOLDER, _STORES, _DEFINITION)  # left by a search that was killed at its start
    names = [entry.name for entry in path.iterdir()]
    if any(name not in ours and not name.startswith(TEMPORARY) for name in names):
        raise InputError(f"--out {path}: isn't empty; choose a new folder")


def _check_writable(path: Path) -> None:
    if bad := name_error(path):
        raise InputError(f"--out {path}: {bad}; choose another folder")
    try:
        if path.is_dir():
            _check_unused(path)
        elif path.exists() or path.is_symlink():
            raise InputError(f"--out {path}: is not a folder; choose a fresh one")
        if bad := write_error(path):
            raise InputError(f"--out {path}: {bad}; choose another folder")
    except OSError as error:
        raise InputError(
            f"--out {path}: can't be used ({error.strerror}); choose another folder"
        ) from None
