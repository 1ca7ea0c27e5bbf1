"""Ends a process at every change that it makes to the disk, or makes that change fail.

``points`` runs actions in forked processes. The k-th process meets its fault at the k-th change,
until a process ends without a fault. Changes are calls of the functions of ``os`` that write
and, if SQLAlchemy is loaded, the commits of a database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgkd_search.errors import DgkdError

Action = Callable[[], object]

CHANGES = "open write fsync rename replace link unlink mkdir rmdir utime".split()
ENDED, FAILED, THROUGH, BROKEN = 3, 4, 0, 1  # exit codes


@dataclass(frozen=True)
class Fault:
    """A fault at a change.

    Attributes:
        kind: ``before`` or ``after`` (the process ends), ``power`` (it ends before, and data that
            were not flushed to disk are lost), ``torn`` (likewise, but half of the written bytes
            survive), ``error`` (the change fails).
        number: errno of the error.
        for_good: whether all later changes fail too.
    """

    kind: str
    number: int = 0
    for_good: bool = False

    def __str__(self) -> str:
        code = errno.errorcode.get(self.number, "")
        return f"{self.kind}{code}{'-for-good' if self.for_good else ''}"


FAULTS = [
    Fault("before"),
    Fault("after"),
    Fault("power"),
    Fault("torn"),
    *(
        Fault("error", number, for_good)
        for number in (errno.ENOSPC, errno.EIO)
        for for_good in (False, True)
    ),
]


@dataclass(frozen=True)
class Outcome:
    """The end of one process.

    Attributes:
        k: number of the change with the fault.
        done: number of actions that had returned.
        failed: index of the action that reported the disk error, or None.
        error: traceback of any other error.
    """

    k: int
    done: int
    failed: int | None
    error: str | None


def points(
    fault: Fault,
    fresh: Callable[[], Path],
    actions: Callable[[Path], Sequence[Action]],
    stubborn: bool = True,
    first: int = 0,
    step: int = 1,
) -> Iterator[tuple[Outcome, Path]]:
    """Yield every point at which the actions can meet the fault, and the resulting folder.

    Args:
        fresh: creates a new folder.
        actions: returns the actions on that folder, in order.
        stubborn: whether to continue with the next action after a failed one.
        first, step: the changes that meet the fault; all by default.
    """
    k = first
    while True:
        root = fresh()
        code, outcome = _run(fault, k, root, actions, stubborn)
        if code == THROUGH:
            shutil.rmtree(root)
            return
        yield outcome, root
        if code == BROKEN:
            return
        shutil.rmtree(root)
        k += step


def _run(
    fault: Fault,
    k: int,
    root: Path,
    actions: Callable[[Path], Sequence[Action]],
    stubborn: bool,
) -> tuple[int, Outcome]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = BROKEN
        try:
            code = _act(fault, k, root, actions, stubborn, writing)
        except BaseException:
            _Disk.write(writing, b"!" + traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    marks, _, error = said.partition(b"!")
    failed = marks.index(b"x") if b"x" in marks else None
    return code, Outcome(k, marks.count(b"."), failed, error.decode() or None)


def _act(
    fault: Fault,
    k: int,
    root: Path,
    actions: Callable[[Path], Sequence[Action]],
    stubborn: bool,
    pipe: int,
) -> int:
    todo = actions(root)
    disk = _Disk(fault, k, root)
    disk.interpose()
    for action in todo:
        try:
            action()
        except (OSError, DgkdError):
            if not disk.met:
                raise
            _Disk.write(pipe, b"x")
            if not stubborn:
                break
        else:
            _Disk.write(pipe, b".")
    return FAILED if disk.met else THROUGH


@dataclass
class _Disk:
    """Intercepts changes to the disk, and records what a power cut would revert."""

    fault: Fault
    k: int
    root: Path
    count: int = 0
    met: bool = False
    unsynced: set[Path] = field(default_factory=set)  # files with unflushed data
    pending: list[tuple[Path, Action]] = field(default_factory=list)  # folder, how to undo it
    paths: dict[int, Path] = field(default_factory=dict)  # by descriptor

    write = staticmethod(os.write)
    real = {name: getattr(os, name) for name in CHANGES}  # noqa: RUF012

    def interpose(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._wrapped(name))
        if "sqlalchemy" in sys.modules:
            self._interpose_commits()

    def _interpose_commits(self) -> None:
        from sqlalchemy.engine.default import DefaultDialect

        commit: Callable[[Any, Any], None] = DefaultDialect.do_commit
        said = {errno.ENOSPC: "database or disk is full", errno.EIO: "disk I/O error"}

        def change(dialect: Any, connection: Any) -> None:
            writes = connection.in_transaction
            here = writes and self._meet(lambda n: sqlite3.OperationalError(said[n]))
            commit(dialect, connection)
            if here and self.fault.kind == "after":
                os._exit(ENDED)

        DefaultDialect.do_commit = change  # type: ignore[method-assign]

    def _meet(self, error: Callable[[int], Exception]) -> bool:
        """Count a change before it happens; return whether it meets the fault."""
        here, self.count = self.count == self.k, self.count + 1
        if here or (self.met and self.fault.for_good):
            self.met = True
            if self.fault.kind == "error":
                raise error(self.fault.number)
            if self.fault.kind in ("power", "torn"):
                self._cut()
            if self.fault.kind != "after":
                os._exit(ENDED)
        return here

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                found = self.real["open"](*arguments, **options)  # changes nothing
                self.paths[found] = Path(arguments[0]).absolute()
                return found
            where = str(arguments[0])
            here = self._meet(lambda number: OSError(number, os.strerror(number), where))
            undo = self._undo(name, arguments, options)
            result = self.real[name](*arguments, **options)
            if undo is not None:
                self.pending.append(undo)
            self._note(name, arguments, result)
            if here and self.fault.kind == "after":
                os._exit(ENDED)
            return result

        return change

    def _note(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        if name == "open":
            self.paths[result] = Path(arguments[0]).absolute()
        elif name == "write":
            self.unsynced.add(self.paths[arguments[0]])
        elif name == "fsync":
            path = self.paths[arguments[0]]
            self.unsynced.discard(path)
            self.pending = [entry for entry in self.pending if entry[0] != path]
        elif name in ("rename", "replace", "link"):
            source, target = (Path(path).absolute() for path in arguments[:2])
            if source in self.unsynced:  # renaming does not flush the content
                self.unsynced.add(target)

    def _undo(
        self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Path, Action] | None:
        """Return an action that reverts a change of a folder, as if it had not reached the disk."""
        if name in ("write", "fsync", "utime") or options.get("dir_fd") is not None:
            return None  # with dir_fd: inside a folder that is being removed
        real = self.real
        if name in ("rename", "replace", "link"):
            source, path = (Path(path).absolute() for path in arguments[:2])
        else:
            path = Path(arguments[0]).absolute()
        if name in ("rename", "replace"):
            kept = self._kept(path)

            def back() -> None:
                real["rename"](path, source)
                if kept is not None:
                    real["rename"](kept, path)

            return path.parent, back
        if name == "unlink":
            backup = self._kept(path)
            return path.parent, lambda: backup and real["rename"](backup, path)
        if name == "mkdir":
            return path.parent, lambda: shutil.rmtree(path)
        if name == "link" or (name == "open" and not path.exists()):
            return path.parent, lambda: real["unlink"](path)
        return None

    def _kept(self, path: Path) -> Path | None:
        """Create a second link to a file that a change will hide."""
        if not path.is_file():
            return None
        name = self.root.with_name(f"{self.root.name}-kept-{self.count}")
        self.real["link"](path, name)
        return name

    def _cut(self) -> None:
        for name in CHANGES:
            setattr(os, name, self.real[name])
        for path in self.unsynced:
            if path.is_file():
                os.truncate(path, path.stat().st_size // 2 if self.fault.kind == "torn" else 0)
        for _, undo in reversed(self.pending):
            with contextlib.suppress(FileNotFoundError):  # already removed with another
                undo()


def forked(action: Callable[[], object]) -> int:
    """Run in a forked process; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
