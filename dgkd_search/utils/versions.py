"""Versions of Python and of the packages that results depend on."""

from __future__ import annotations

import sys
from importlib.metadata import version

_PACKAGES = ("dgkd-search", "torch", "torchvision", "ray", "optuna", "numpy")


def versions() -> dict[str, str]:
    """Return the versions by name, Python first."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}}
