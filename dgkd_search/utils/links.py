"""Symbolic links in a store, none of which is followed.

Everyone who may write to a shared store could place a link there that leads to another user's
files. A link in the place of an entry counts as damage: the link itself is moved away. A link in
the place of a folder of entries is refused, because whatever lies below it is outside the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dgkd_search.errors import InputError


def refuse_links(paths: Iterable[Path]) -> None:
    """Check that none of these folders and locks is a link; they may be missing.

    Raises:
        InputError: names the links.
    """
    problems = [
        f"{path}: is a link, and links in a store are not followed; remove it, or name another "
        "store with --store"
        for path in paths
        if path.is_symlink()
    ]
    if problems:
        raise InputError(problems)


def check_no_link(*paths: Path) -> None:
    """Check that an entry, and the files in it, are no links; they may be missing.

    Raises:
        ValueError: one is a link: the entry is damaged.
    """
    if any(path.is_symlink() for path in paths):
        raise ValueError("a link, which is not followed")


def lock_path(folder: Path, name: str) -> Path:
    """Return ``folder/<name>.lock``, the path of a lock.

    Raises:
        InputError: it is a link.
    """
    path = folder / f"{name}.lock"
    refuse_links([path])
    return path


def entry_path(folder: Path, key: str) -> Path:
    """Return ``folder/<k>/<key>``, the path of an entry, where ``<k>`` is the start of the key.

    Raises:
        InputError: ``folder/<k>`` is a link.
    """
    part = folder / key[:2]
    refuse_links([part])
    return part / key


def children(folder: Path) -> list[Path]:
    """Return the sorted paths in a folder; none if it is missing, not a folder, or a link."""
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:  # removed meanwhile, or not a folder
        return []
