"""All uses of Ray's private API; for none of them does Ray have a public alternative.

If a version of Ray lacks one of these names, only its effect is missing. ``VERSIONS`` are the
tested versions; pyproject.toml allows the same.
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
# Every private name, as module and attribute; a test checks that the installed Ray has them.
NAMES = (
    (_WORKER, "print_to_stdstream"),
    (_WORKER, "_global_node"),
    (_CLASS_CACHE, "DEFAULT_ENV_VARS"),
    (_CLASS_CACHE, "ENV_VARS_TO_PROPAGATE"),
    ("ray._private.node", "Node.kill_all_processes"),
    ("ray._raylet", "AuthenticationTokenLoader.instance"),
)
# Loggers whose terminal output would repeat that of the search.
LOGGERS = ("ray", "ray.tune", "ray.train", "ray._private")


def temp_dir(folder: Path) -> dict[str, str]:
    """Return the argument of ``ray.init`` that sets the folder of its sockets and logs."""
    return {"_temp_dir": str(folder)}


def forget_token() -> None:
    """Clear Ray's cached token, which would otherwise be reused at its next start."""
    with contextlib.suppress(AttributeError):
        _module("ray._raylet").AuthenticationTokenLoader.instance().reset_cache()


def silent_raylets() -> contextlib.AbstractContextManager[None]:
    """Suppress terminal output of raylets about dead workers and nodes.

    ``log_to_driver=False`` does not suppress it.
    """
    return _replaced(_WORKER, {"print_to_stdstream": lambda *_, **__: None})


def no_environment_of_actors() -> contextlib.AbstractContextManager[None]:
    """Keep Tune from setting environment variables of its actors.

    With such variables, Ray starts a new process for each trial instead of using an idle one.
    """
    return _replaced(_CLASS_CACHE, dict.fromkeys(("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE")))


def before_processes_end(call: Callable[[], None]) -> None:
    """Call a function in ``ray.shutdown``, before it ends Ray's processes."""
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
    """Replace attributes of a module temporarily; None stands for an empty value of their type.

    Attributes that the module doesn't have are skipped.
    """
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
    """Import a module; None if this version of Ray doesn't have it."""
    try:
        return import_module(name)
    except ImportError:
        return None
