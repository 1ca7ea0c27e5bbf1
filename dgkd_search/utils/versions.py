"""Of Python and of the packages that a result depends on."""

from __future__ import annotations

import sys
from importlib.metadata import version

_PACKAGES = ("dgkd-search", "torch", "torchvision", "ray", "optuna", "numpy")


def versions() -> dict[str, str]:
    """Versions by name, Python's first."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}}
