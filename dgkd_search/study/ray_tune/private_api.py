"""Names of Ray that are not public, each used because Ray has no public way to the same end.

All of them stand here. Where a version of Ray lacks one, what it is for is left out, and nothing
else changes. ``VERSIONS`` are those that were tried; pyproject.toml allows the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

VERSIONS = ">=2.60,<2.61"

_WORKER = "ray._private.worker"
_CLASS_CACHE = "ray.tune.execution.class_cache"
# Every name, as module and attribute: tests look for all of them in the Ray that is installed.
NAMES = (
    (_WORKER, "print_to_stdstream"),
    (_WORKER, "_global_node"),
    (_CLASS_CACHE, "DEFAULT_ENV_VARS"),
    (_CLASS_CACHE, "ENV_VARS_TO_PROPAGATE"),
    ("ray._private.node", "Node.kill_all_processes"),
    ("ray._raylet", "AuthenticationTokenLoader.instance"),
)
# Loggers that say on the terminal what the search says itself.
LOGGERS = ("ray", "ray.tune", "ray.train", "ray._private")


def temp_dir(folder: Path) -> dict[str, str]:
    """The argument of ``ray.init`` for where its sockets and logs lie; there is no setting."""
    return {"_temp_dir": str(folder)}


def forget_token() -> None:
    """Have Ray read the token of its next start: it keeps that of the first in this process."""
    with contextlib.suppress(AttributeError):
        _module("ray._raylet").AuthenticationTokenLoader.instance().reset_cache()


def silent_raylets() -> contextlib.AbstractContextManager[None]:
    """Keep what raylets say of workers and nodes that died from the terminal.

    ``log_to_driver=False`` doesn't.
    """
    return _replaced(_WORKER, {"print_to_stdstream": lambda *_, **__: None})


def no_environment_of_actors() -> contextlib.AbstractContextManager[None]:
    """Have Tune give its actors no environment variables of their own.

    With them Ray starts a process anew for each trial, in place of one that waits.
    """
    return _replaced(_CLASS_CACHE, dict.fromkeys(("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE")))


def before_processes_end(call: Callable[[], None]) -> None:
    """Have ``ray.shutdown`` of this process call a function before it ends Ray's processes."""
    node = getattr(_module(_WORKER), "_global_node", None)
    end = getattr(node, "kill_all_processes", None)
    if node is None or end is None:
        return

    def after_the_call(*arguments: Any, **options: Any) -> Any:
        call()
        return end(*arguments, **options)

    node.kill_all_processes = after_the_call


@contextlib.contextmanager
def _replaced(module_name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
    """A module with other attributes where it has them; None empties one, whatever its type."""
    module = _module(module_name)
    before = {name: getattr(module, name) for name in attributes if hasattr(module, name)}
    for name, value in before.items():
        setattr(module, name, type(value)() if attributes[name] is None else attributes[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _module(name: str) -> Any:
    """None where this version has none of that name."""
    try:
        return import_module(name)
    except ImportError:
        return None
