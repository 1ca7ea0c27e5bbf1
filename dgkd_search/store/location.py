"""The location of the store."""

from __future__ import annotations

from pathlib import Path

import platformdirs

NO_STORE = "none"  # with --store none, trials share nothing
FORMAT_FILE = "format.json"  # marks a folder as a store


def default_root() -> Path:
    """Return the default folder of the store, in the user's cache folder."""
    return platformdirs.user_cache_path("dgkd-search") / "store"


def store_path(store: str | None) -> Path:
    """Return the folder of the store that ``--store`` names.

    Args:
        store: value of ``--store``; None and ``NO_STORE`` stand for the default folder.
    """
    return default_root() if store is None or store == NO_STORE else Path(store)
