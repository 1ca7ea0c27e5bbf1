"""``dgkd-search store``: list the store, verify it, free space. Never imports torch."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dgkd_search.cli.output import say
from dgkd_search.config.parsers import OptionParser, duration, path_text
from dgkd_search.errors import InputError
from dgkd_search.errors.shown import shown
from dgkd_search.store.inventory import ENTRY_KINDS, Entry, Inventory, list_store
from dgkd_search.store.location import FORMAT_FILE, NO_STORE, default_root
from dgkd_search.store.maintenance import FREEABLE, Freed, free_space, verify_store
from dgkd_search.store.store import Store
from dgkd_search.utils.formatting import format_bytes
from dgkd_search.utils.rules import OneOf
from dgkd_search.utils.tables import Column, Table, print_blocks

_NAMES = {  # singular, plural
    "stage": ("finished stage", "finished stages"),
    "checkpoint": ("unfinished stage", "unfinished stages"),
    "outputs": ("array of outputs", "arrays of outputs"),
    "data": ("prepared dataset", "prepared datasets"),
    "damaged": ("damaged entry, moved aside", "damaged entries, moved aside"),
    "temporary": ("leftover of a killed process", "leftovers of killed processes"),
    "unknown": ("unreadable or unknown file", "unreadable or unknown files"),
}
_WIDEST = 24  # columns of a name in a table
_SHOWN = 2  # run folders per row of a table


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; values stay text until ``run_store_command``."""
    parser.add_argument(
        "--store", metavar="DIR", help="store folder (default: in the user's cache folder)"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read all files and move damaged entries aside"
    )
    parser.add_argument(
        "--free",
        metavar="WHAT",
        help=f"delete {', '.join(FREEABLE)} (unused: used by no recorded search); entries that "
        "running searches use are kept",
    )
    parser.add_argument(
        "--older-than",
        metavar="T",
        help="with --free: only entries not used for this time, e.g. 30d",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what --free would delete")


def run_store_command(options: argparse.Namespace) -> int:
    """List, verify or free; return the exit code, which is 1 if an entry was damaged.

    Raises:
        InputError: options that exclude each other, a bad value, or no store.
    """
    what = _parsed("free", options.free, OneOf(tuple(FREEABLE)))
    age = _parsed("older-than", options.older_than, duration)
    if what is None and (age is not None or options.dry_run):
        option = "--dry-run" if options.dry_run else "--older-than"
        raise InputError(f"{option}: needs --free; add --free {'|'.join(FREEABLE)}")
    if what is not None and options.verify:
        raise InputError("--verify, --free: exclude each other; run --verify, then --free damaged")
    store = _open(_parsed("store", options.store, path_text))
    if options.verify:
        return _verify(store)
    if what is not None:
        freed = free_space(store, what, age, dry_run=options.dry_run)
        say("\n".join(_freed_lines(freed, options.dry_run)))
    else:
        print_blocks(_list_blocks(store, list_store(store)))
    return 0


def _parsed(name: str, value: str | None, rule: OptionParser) -> Any:
    try:
        return None if value is None else rule(value)
    except ValueError as error:
        given = _plain(str(value), 60) or "''"
        raise InputError(f"--{name} {given}: {error}") from None


def _open(path: str | None) -> Store:
    """Open an existing store; none is created."""
    if path == NO_STORE:
        raise InputError("--store none: must be a folder; name the folder of a store")
    root = default_root() if path is None else Path(path).expanduser()
    # The format file may have been lost; the folders identify a store as well.
    if not (root / FORMAT_FILE).is_file() and not (root / "stages").is_dir():
        raise InputError(
            f"store {root}: not found; run a search, which creates it, or name another folder "
            "with --store"
        )
    return Store(root)


def _verify(store: Store) -> int:
    entries = list_store(store).entries
    say(f"reading {format_bytes(sum(entry.size for entry in entries))} in {store.root}")
    problems = [*store.notes, *verify_store(store)]  # notes: found when the store was opened
    for problem in problems:
        say(problem)
    if problems:
        say(f"{len(problems)} damaged, moved aside; `--free damaged` deletes damaged entries")
        return 1
    say("no damage found")
    return 0


def _freed_lines(freed: Freed, dry_run: bool) -> Iterator[str]:
    verb = "would free" if dry_run else "freed"
    yield f"{verb} {format_bytes(freed.bytes)}: {_counted(freed.entries) or 'nothing'}"
    if freed.kept_in_use:
        yield f"kept, as running searches or trials may use them: {_counted(freed.kept_in_use)}"
    if dry_run:
        yield "nothing was deleted (--dry-run)"


def _counted(entries: Iterable[Entry]) -> str:
    counts = Counter(entry.kind for entry in entries)
    return ", ".join(
        f"{counts[kind]} {_NAMES[kind][counts[kind] > 1]}" for kind in ENTRY_KINDS if counts[kind]
    )


def _list_blocks(store: Store, inventory: Inventory) -> Iterator[str | Table]:
    searches = [user for user in inventory.users if user.kind == "search"]
    trials = [user for user in inventory.users if user.kind == "trial"]
    yield f"store {store.root}"
    running = sum(user.live for user in searches)
    yield f"searches recorded {len(searches)}, running {running}; trials running {len(trials)}"
    yield ""
    yield _kinds_table(inventory)
    now = time.time()
    if inventory.of("stage"):
        yield ""
        yield _stages_table(inventory, now)
    if inventory.of("data"):
        yield ""
        yield _datasets_table(inventory, now)


def _kinds_table(inventory: Inventory) -> Table:
    columns = (Column(), Column("count", "right"), Column("size", "right", format_bytes))
    rows = []
    for kind in ENTRY_KINDS:
        entries = inventory.of(kind)
        if entries or kind in ("stage", "checkpoint", "outputs", "data"):
            rows.append((_NAMES[kind][1], len(entries), sum(entry.size for entry in entries)))
    total = sum(entry.size for entry in inventory.entries)
    return Table(columns, [*rows, ("total", len(inventory.entries), total)])


def _stages_table(inventory: Inventory, now: float) -> Table:
    """Return the table of stages, the most recently used first."""
    columns = (
        Column("model", format=_plain),
        Column("dataset", format=_plain),
        Column("teachers", "right"),
        Column("accuracy", "right", ".2f"),
        Column("size", "right", format_bytes),
        Column("outputs", "right"),
        Column("used", format=_age),
        Column("by", format=_runs),
    )
    outputs, datasets = inventory.outputs(), inventory.datasets()
    rows = []
    for stage in sorted(
        inventory.of("stage"), key=lambda entry: (-entry.used, entry.name, entry.path)
    ):
        stored = outputs.get(stage.key)
        rows.append(
            (
                stage.name,
                datasets.get(stage.data, stage.data[:8]),
                stage.teachers,
                stage.accuracy,
                stage.size,
                f"{stored.banks} x {format_bytes(stored.size / stored.banks)}" if stored else "-",
                now - stage.used,
                stage.searches,
            )
        )
    return Table(columns, rows)


def _datasets_table(inventory: Inventory, now: float) -> Table:
    columns = (
        Column("dataset", format=_plain),
        Column("images", "right"),
        Column("size", "right", format_bytes),
        Column("used", format=_age),
    )
    entries = sorted(inventory.of("data"), key=lambda entry: -entry.used)
    return Table(columns, [(e.name, e.images, e.size, now - e.used) for e in entries])


def _runs(searches: Sequence[str]) -> str:
    """Return the names of run folders, without their parents, the latest first."""
    names = [_plain(Path(name).name, keep_end=True) for name in reversed(searches)]
    more = f" +{len(names) - _SHOWN}" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "-"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def _plain(text: str, most: int = _WIDEST, *, keep_end: bool = False) -> str:
    """Return a text from a file, safe to show and shortened."""
    text = shown(text)
    if len(text) <= most:
        return text
    # Names of run folders differ at their ends.
    return "..." + text[3 - most :] if keep_end else text[: most - 3] + "..."
