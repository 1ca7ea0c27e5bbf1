"""Checksums of the user's own code."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

_OURS = "dgkd_search."


def code_checksum(file: str | None, *callables: Callable[..., object]) -> str:
    """Return a checksum of a module's file and of those of some callables, as 32 hex digits.

    Args:
        file: path of the module; None if it has no file, as in a notebook.
        callables: functions and classes; those without a source file are ignored.
    """
    files = {file}
    files |= {_source(function) for function in callables}
    contents = {Path(name).read_bytes() for name in files if name and Path(name).is_file()}
    return hashlib.sha256(b"\0".join(sorted(contents))).hexdigest()[:32]


def class_checksum(kind: type) -> str:
    """Return a checksum of the modules of a user's own class and of its base classes.

    Base classes from this package and from other installed packages are ignored, so that a new
    release of torch changes no checksum. The checksum of a class of this package is empty.
    """
    if kind.__module__.startswith(_OURS):
        return ""
    own = [each for each in kind.__mro__ if _is_own(each, kind)]
    module = sys.modules.get(kind.__module__)
    return code_checksum(getattr(module, "__file__", None), *own)


def _is_own(each: type, kind: type) -> bool:
    package, _, _ = each.__module__.partition(".")
    if package == kind.__module__.partition(".")[0]:
        return True
    file = Path(_source(each) or "").resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    elsewhere = each.__module__.startswith(_OURS) or installed & {*file.parents}
    return file.is_file() and not elsewhere


def _source(function: Callable[..., object]) -> str | None:
    """Return the source file of a callable; None for built-in callables."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    known = inspect.isroutine(function) or inspect.isclass(function)
    with contextlib.suppress(TypeError):
        return inspect.getsourcefile(function if known else type(function))
    return None
