"""Finished and unfinished stages, by key, in a folder that any number of processes share.

``stages/<k>/<key>/`` holds a finished stage: ``weights.safetensors`` and ``stage.json``;
``partial/<key>/`` a stage in progress: a checkpoint and its ``checkpoint.json``. Each JSON file
carries the checksum of its neighbor and of itself; what doesn't match is set aside in
``damaged/`` and made again. ``outputs/`` is the matter of ``outputs``, ``users/`` of ``leases``.
Nothing here is a pickle, and nothing here imports torch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dgkd_search.errors import InputError
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
    from_checksummed_json,
    sha256,
    to_checksummed_json,
    to_json,
)

STORE_FORMAT = 1
_FOLDERS = ("stages", "partial", "outputs", "users", "locks", "data")


@dataclass(frozen=True)
class StageEntry:
    """A stage as the store holds it.

    Attributes:
        key: the stage's key.
        tensors: safetensors bytes: weights, or a checkpoint's weights and optimizer state.
        meta: plain JSON: ``spec``, ``rows`` (one per epoch) and what else the trial wrote.
    """

    key: str
    tensors: bytes
    meta: Mapping[str, object]


class _Damaged(Exception):
    """A file of the store isn't what was written."""


class Store:
    """A content-addressed store of stages and of what frozen models said.

    Args:
        root: the store's folder; made where it is missing.
        outputs_limit: bytes that stored outputs may take; None for no limit.

    Attributes:
        notes: one line for each damaged entry that was met and set aside.
        outputs: the outputs of stages.

    Raises:
        InputError: the folder can't be written, or another format's store is in it.
    """

    def __init__(self, root: Path | str, outputs_limit: int | None = None) -> None:
        self.root = Path(root).expanduser().resolve()
        self.notes: list[str] = []
        try:
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
        """Who uses this store, and which searches did."""
        return store_users(self.root / "users")

    def verify_users(self) -> None:
        """Set aside what lies among the records of users and is none."""
        for path in unreadable_records(self.root / "users"):
            self._quarantine(path, "it is no record of a search")

    def lease(self, kind: str, name: str | None = None) -> Lease:
        """See ``Lease``."""
        return Lease(self.root / "users", kind, name)

    @property
    def data(self) -> Path:
        """Where prepared datasets lie."""
        return self.root / "data"

    def get(self, key: str) -> StageEntry | None:
        """The finished stage, verified; None where there is none or it was damaged."""
        folder = self._stage(key)
        files = folder / "weights.safetensors", folder / "stage.json"
        try:
            try:
                return _read(key, *files)
            except FileNotFoundError:
                if not folder.exists():
                    return None
                # Its trainer's rename may have come since: then a second look finds all of it.
                return _read(key, *files)
        except FileNotFoundError:
            self._quarantine(folder, "a file is missing")
        except (_Damaged, *MISPLACED) as error:
            self._quarantine(folder, str(error))
        return None

    def __contains__(self, key: str) -> bool:
        """Whether a finished stage is there; it is verified only when it is read."""
        return (self._stage(key) / "stage.json").exists()

    def put(self, key: str, weights: bytes, meta: Mapping[str, object]) -> None:
        """Keep a finished stage and forget its checkpoint; what is there already stays."""
        description = _description(key, sha256(weights), {**meta, "finished": time.time()})
        write_folder(self._stage(key), {"weights.safetensors": weights, "stage.json": description})
        with suppress(OSError):
            remove_folder(self._partial(key))

    def get_partial(self, key: str) -> StageEntry | None:
        """The newest checkpoint of an unfinished stage, verified, or None."""
        folder = self._partial(key)
        try:
            named = json.loads((folder / "checkpoint.json").read_bytes())
            tensors = folder / f"{_name(named['tensors'])}.safetensors"
            return _read(key, tensors, folder / "checkpoint.json")
        except FileNotFoundError:
            # Otherwise the stage has not begun, or a stop came before its first checkpoint.
            if (folder / "checkpoint.json").exists():
                self._quarantine(folder, "a file is missing")
        except (_Damaged, *MISPLACED) as error:
            self._quarantine(folder, str(error))
        except UNREADABLE:
            self._quarantine(folder, "checkpoint.json is not readable")
        return None

    def put_partial(self, key: str, tensors: bytes, meta: Mapping[str, object]) -> None:
        """Replace the checkpoint of a stage in progress; the caller holds its lock.

        The tensors are written first, under their own checksum, then named: a stop between the
        two leaves the older checkpoint valid.
        """
        folder = self._partial(key)
        make_folder(folder)
        checksum = sha256(tensors)
        current = folder / f"{checksum}.safetensors"
        write_bytes(current, tensors)
        write_bytes(folder / "checkpoint.json", _description(key, checksum, meta))
        for old in folder.iterdir():
            if old.name not in (current.name, "checkpoint.json"):
                remove_file(old)

    def meta(self, key: str, partial: bool = False) -> Mapping[str, object] | None:
        """What is said of a stage, finished or ``partial``, without reading its weights.

        Returns:
            ``StageEntry.meta``; None where there is none or it isn't what was written.
        """
        folder = self._partial(key) if partial else self._stage(key)
        with suppress(FileNotFoundError, _Damaged, *MISPLACED):
            return _describe(key, folder / ("checkpoint.json" if partial else "stage.json"))
        return None

    def lock(self, key: str) -> FileLock:
        """The lock that whoever trains ``key`` holds; a dead holder's is released by the system.

        Any thread may release it: a trial's rows may be closed by another than took them.
        """
        return FileLock(self.root / "locks" / f"{key}.lock", timeout=0, thread_local=False)

    @property
    def _format(self) -> Path:
        return self.root / FORMAT_FILE

    def _check_format(self) -> bool:
        """Whether a store of this format is there; nothing is written."""
        try:
            found_format = json.loads(self._format.read_bytes())["format"]
        except FileNotFoundError:
            return False
        except UNREADABLE:
            # Every entry says its format too: if these are ours, only the mark is damaged.
            found_format = next(self._formats(), STORE_FORMAT)
            if found_format == STORE_FORMAT:
                self._quarantine(self._format, "it is not readable")
                return False
        if found_format != STORE_FORMAT:
            raise InputError(
                f"store {self.root}: its format is {found_format}, this version reads "
                f"{STORE_FORMAT}; it was left alone, choose another folder with --store"
            )
        return True

    def _formats(self) -> Iterator[object]:
        for path in self.root.glob("stages/*/*/stage.json"):
            with suppress(OSError, *UNREADABLE):
                yield json.loads(path.read_bytes())["format"]

    def _stage(self, key: str) -> Path:
        return self.root / "stages" / key[:2] / key

    def _partial(self, key: str) -> Path:
        return self.root / "partial" / key

    def _quarantine(self, path: Path, why: str) -> None:
        moved = quarantine(path, self.root / "damaged")
        if moved is not None:
            self.notes.append(
                f"{path.name}: damaged ({why}), set aside as {moved}; made again when needed"
            )


def _description(key: str, checksum: str, meta: Mapping[str, object]) -> bytes:
    return to_checksummed_json({"format": STORE_FORMAT, "key": key, "tensors": checksum, **meta})


def _describe(key: str, description: Path) -> Mapping[str, object]:
    try:
        meta = from_checksummed_json(description.read_bytes(), description.name)
    except ValueError as error:
        raise _Damaged(str(error)) from None
    if meta.get("key") != key or "tensors" not in meta:
        raise _Damaged(f"{description.name} describes something else")
    return meta


def _read(key: str, tensors: Path, description: Path) -> StageEntry:
    meta = _describe(key, description)
    data = tensors.read_bytes()
    if sha256(data) != meta["tensors"]:
        raise _Damaged(f"{tensors.name} fails its checksum")
    return StageEntry(key, data, meta)


def _name(value: object) -> str:
    """A checksum from a file, before it becomes part of a path."""
    text = str(value)
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise _Damaged("checkpoint.json names no checksum")
    return text
