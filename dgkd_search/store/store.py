"""Finished and unfinished stages, by key, in a folder that any number of processes share.

``stages/<k>/<key>/`` contains a finished stage: ``weights.safetensors`` and ``stage.json``.
``partial/<key>/`` contains a stage in training: a checkpoint and its ``checkpoint.json``. Each JSON
file contains the checksums of the tensors and of itself. An entry that does not match is moved to
``damaged/`` and trained again when needed. For ``outputs/`` see ``outputs``, for ``users/`` see
``leases``, for symbolic links ``utils.links``. There are no pickles, and this module imports no
torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dgkd_search.errors import InputError, one_line
from dgkd_search.store.leases import Lease, StoreUser, store_users, unreadable_records
from dgkd_search.store.location import FORMAT_FILE
from dgkd_search.store.outputs import OutputStore
from dgkd_search.utils.files import (
    MISPLACED,
    make_folder,
    quarantine,
    remove_file,
    remove_folder,
    write_bytes,
    write_folder,
)
from dgkd_search.utils.hashing import (
    UNREADABLE,
    sha256,
    to_checksummed_json,
    to_json,
)
from dgkd_search.utils.limits import (
    TooLarge,
    read_checksummed_json,
    read_json,
    read_limited,
    tensors_limit,
)
from dgkd_search.utils.links import entry_path, lock_path, refuse_links

STORE_FORMAT = 1
_FOLDERS = ("stages", "partial", "outputs", "users", "locks", "data")
_LINK = "it is a link, which is not followed"


@dataclass(frozen=True)
class StageEntry:
    """A stored stage.

    Attributes:
        key: the stage's key.
        tensors: safetensors bytes: the weights; of a checkpoint also the optimizer state.
        meta: plain JSON: ``spec``, ``rows`` (one per epoch) and the store's own fields.
    """

    key: str
    tensors: bytes
    meta: Mapping[str, object]


class _Damaged(Exception):
    """A file of the store differs from what was written."""


class Store:
    """A store of trained stages and teacher outputs, addressed by key.

    Args:
        root: the store's folder, created if missing.
        outputs_limit: bytes that stored outputs may occupy; None for no limit.

    Attributes:
        root: the absolute path of the store's folder.
        notes: a line for each damaged entry that this object has found and moved away.
        outputs: the teacher outputs.

    Raises:
        InputError: the folder cannot be written, contains a store of another format, or one of the
            store's folders is a link.
    """

    def __init__(self, root: Path | str, outputs_limit: int | None = None) -> None:
        self.root = Path(root).expanduser().resolve()
        self.notes: list[str] = []
        try:
            # Those that are only made when something is damaged, too.
            names = (*_FOLDERS, "damaged", "data/damaged")
            refuse_links(self.root / name for name in names)
            known = self._check_format()
            for name in _FOLDERS:
                make_folder(self.root / name)
            if not known:
                write_bytes(self._format, to_json({"format": STORE_FORMAT}))
        except OSError as error:
            raise InputError(
                f"store {self.root}: can't be written ({error.strerror}); "
                "choose another folder with --store"
            ) from None
        self.outputs = OutputStore(
            self.root / "outputs",
            self.root / "locks",
            outputs_limit,
            lambda: {k for user in self.users() if user.kind == "trial" for k in user.keys},
            self._quarantine,
        )

    def users(self) -> list[StoreUser]:
        """Return the processes that use this store, and the searches that used it."""
        return store_users(self.root / "users")

    def verify_users(self) -> None:
        """Move unreadable records of users away."""
        for path in unreadable_records(self.root / "users"):
            self._quarantine(path, "not a readable record of a user")

    def lease(self, kind: str, name: str | None = None) -> Lease:
        """Return a ``Lease`` on this store."""
        return Lease(self.root / "users", kind, name)

    @property
    def data(self) -> Path:
        """The folder of prepared datasets."""
        return self.root / "data"

    def get(self, key: str) -> StageEntry | None:
        """Return the finished stage, verified; None if it is missing or damaged."""
        folder = self._stage(key)
        files = folder / "weights.safetensors", folder / "stage.json"
        try:
            _check_no_link(folder)
            try:
                return _read(key, *files)
            except FileNotFoundError:
                if not folder.exists():
                    return None
                # Its writer may just have renamed it into place, then this read succeeds.
                return _read(key, *files)
        except FileNotFoundError:
            self._quarantine(folder, "a file is missing")
        except (_Damaged, *MISPLACED) as error:
            self._quarantine(folder, one_line(error))
        return None

    def __contains__(self, key: str) -> bool:
        """Return whether a finished stage is stored; only ``get`` verifies it."""
        return (self._stage(key) / "stage.json").exists()

    def put(self, key: str, weights: bytes, meta: Mapping[str, object]) -> None:
        """Store a finished stage unless it is there already, and remove its checkpoint."""
        description = _description(key, sha256(weights), {**meta, "finished": time.time()})
        write_folder(self._stage(key), {"weights.safetensors": weights, "stage.json": description})
        with suppress(OSError):
            remove_folder(self._partial(key))

    def get_partial(self, key: str) -> StageEntry | None:
        """Return the checkpoint of an unfinished stage, verified; None if missing or damaged."""
        folder = self._partial(key)
        try:
            _check_no_link(folder, folder / "checkpoint.json")
            named = read_json(folder / "checkpoint.json")
            tensors = folder / f"{_name(named['tensors'])}.safetensors"
            return _read(key, tensors, folder / "checkpoint.json")
        except FileNotFoundError:
            # Otherwise there is no checkpoint yet.
            if (folder / "checkpoint.json").exists():
                self._quarantine(folder, "a file is missing")
        except (_Damaged, *MISPLACED) as error:
            self._quarantine(folder, one_line(error))
        except UNREADABLE:
            self._quarantine(folder, "checkpoint.json is not readable")
        return None

    def put_partial(self, key: str, tensors: bytes, meta: Mapping[str, object]) -> None:
        """Replace the checkpoint of a stage in training; the caller must hold its lock.

        The tensors are written first, to a file named by their checksum, then ``checkpoint.json``
        names that file: an interruption in between leaves the previous checkpoint valid.
        """
        folder = self._partial(key)
        if folder.is_symlink():
            self._quarantine(folder, _LINK)
        make_folder(folder)
        checksum = sha256(tensors)
        current = folder / f"{checksum}.safetensors"
        write_bytes(current, tensors)
        write_bytes(folder / "checkpoint.json", _description(key, checksum, meta))
        for old in folder.iterdir():
            if old.name not in (current.name, "checkpoint.json"):
                remove_file(old)

    def meta(self, key: str, partial: bool = False) -> Mapping[str, object] | None:
        """Return ``StageEntry.meta`` of a stage, finished or ``partial``, without its weights.

        Returns:
            None if it is missing or damaged.
        """
        folder = self._partial(key) if partial else self._stage(key)
        with suppress(FileNotFoundError, _Damaged, *MISPLACED):
            _check_no_link(folder)
            return _describe(key, folder / ("checkpoint.json" if partial else "stage.json"))
        return None

    def reject(self, key: str, why: str, partial: bool = False) -> None:
        """Move a stage, finished or ``partial``, away, because its contents can't be used."""
        self._quarantine(self._partial(key) if partial else self._stage(key), why)

    def lock(self, key: str) -> FileLock:
        """Return the lock that a process holds while it trains ``key``.

        The system releases the lock of a dead process. Any thread may release the lock, because a
        trial's iterator may be closed by another thread than the one that ran it.
        """
        return FileLock(lock_path(self.root / "locks", key), timeout=0, thread_local=False)

    @property
    def _format(self) -> Path:
        return self.root / FORMAT_FILE

    def _check_format(self) -> bool:
        """Return whether a store of this format exists; a damaged format file is moved away."""
        try:
            stored_format = read_json(self._format)["format"]
        except FileNotFoundError:
            return False
        except UNREADABLE:
            # Entries contain their format too: if it is ours, only the format file is damaged.
            stored_format = next(self._formats(), STORE_FORMAT)
            if stored_format == STORE_FORMAT:
                self._quarantine(self._format, "it is not readable")
                return False
        if stored_format != STORE_FORMAT:
            raise InputError(
                f"store {self.root}: its format is {stored_format}, this version reads "
                f"{STORE_FORMAT}; the store was not changed, choose another folder with --store"
            )
        return True

    def _formats(self) -> Iterator[object]:
        for path in self.root.glob("stages/*/*/stage.json"):
            with suppress(OSError, *UNREADABLE):
                yield read_json(path)["format"]

    def _stage(self, key: str) -> Path:
        return entry_path(self.root / "stages", key)

    def _partial(self, key: str) -> Path:
        return self.root / "partial" / key

    def _quarantine(self, path: Path, why: str) -> None:
        moved = quarantine(path, self.root / "damaged")
        if moved is not None:
            self.notes.append(
                f"{path.name}: damaged ({why}); moved to {moved}, recreated when needed"
            )


def _description(key: str, checksum: str, meta: Mapping[str, object]) -> bytes:
    return to_checksummed_json({"format": STORE_FORMAT, "key": key, "tensors": checksum, **meta})


def _describe(key: str, description: Path) -> Mapping[str, object]:
    _check_no_link(description)
    try:
        meta = read_checksummed_json(description)
    except ValueError as error:
        raise _Damaged(str(error)) from None
    if meta.get("key") != key or "tensors" not in meta:
        raise _Damaged(f"{description.name} describes another stage")
    return meta


def _read(key: str, tensors: Path, description: Path) -> StageEntry:
    meta = _describe(key, description)
    _check_no_link(tensors)
    try:
        data = read_limited(tensors, tensors_limit())
    except TooLarge as error:  # another machine may have the memory: the entry is left alone
        raise InputError(f"{tensors}: {error}; use a machine with more memory") from None
    if sha256(data) != meta["tensors"]:
        raise _Damaged(f"{tensors.name} fails its checksum")
    return StageEntry(key, data, meta)


def _check_no_link(*paths: Path) -> None:
    if any(path.is_symlink() for path in paths):
        raise _Damaged(_LINK)


def _name(value: object) -> str:
    """Check a checksum from a file before it becomes part of a path."""
    text = str(value)
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise _Damaged("checkpoint.json contains no checksum")
    return text
