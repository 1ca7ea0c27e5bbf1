"""Where the store lies."""

from __future__ import annotations

from pathlib import Path

import platformdirs

NO_STORE = "none"  # the text of --store under which trials share nothing
FORMAT_FILE = "format.json"  # what makes a folder a store


def default_root() -> Path:
    """The store's folder where nobody names another: in the user's cache folder."""
    return platformdirs.user_cache_path("dgkd-search") / "store"


def store_path(store: str | None) -> Path:
    """Where trained stages are kept, if trials share them.

    Args:
        store: the text of ``--store``; None and ``NO_STORE`` name no folder.
    """
    return default_root() if store is None or store == NO_STORE else Path(store)
