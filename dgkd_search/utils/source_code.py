"""The code that a user brings along, as a checksum."""

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
    """Of a module's file and of those of some functions and classes; 32 hex digits.

    Args:
        file: path of the module; None where it has none, as in a notebook.
        callables: those without a file of their own count for nothing.
    """
    files = {file}
    files |= {_source(function) for function in callables}
    contents = {Path(name).read_bytes() for name in files if name and Path(name).is_file()}
    return hashlib.sha256(b"\0".join(sorted(contents))).hexdigest()[:32]


def class_checksum(kind: type) -> str:
    """Of the module of a user's own class, and of those of the classes that it inherits from.

    Classes of ours, and of other packages that are installed, count for nothing: a new release of
    torch makes no other class. Empty for a class of the product's own.
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
    """The file that a callable is written in; None for one that is built in."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    known = inspect.isroutine(function) or inspect.isclass(function)
    with contextlib.suppress(TypeError):
        return inspect.getsourcefile(function if known else type(function))
    return None
