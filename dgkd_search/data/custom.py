"""Datasets of a user's own: functions that give arrays, in a module that a search imports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.config import DATASETS
from dgkd_search.data.in_memory import InMemoryDataset
from dgkd_search.data.types import Images, Labels
from dgkd_search.errors import InputError

Load = Callable[[], tuple[Any, Any]]  # images and labels, as ``InMemoryDataset`` has them


@dataclass(frozen=True)
class CustomDataset:
    """What was made known as a dataset.

    Attributes:
        parts: the functions, by ``train``, ``val``, ``test``.
        origin: module that made it known.
    """

    name: str
    parts: dict[str, Load]
    classes: tuple[str, ...] | None
    origin: str


_known: dict[str, CustomDataset] = {}
_opened: dict[tuple[str, int | None], FunctionDataset] = {}  # their functions may take long


def dataset(
    name: str,
    /,
    *,
    train: Load,
    val: Load | None = None,
    test: Load | None = None,
    classes: Sequence[str] | None = None,
) -> CustomDataset:
    """Make a dataset of your own known to searches, as ``--dataset NAME``.

    Call it at the top of a module, and name that module with ``--models``. The functions are called
    on the driver alone, and ``test`` not before the search is over; workers map what was prepared.

    Args:
        name: what ``--dataset`` calls it.
        train, val, test: each gives images, uint8 [N, H, H] (gray), [N, H, H, C] or [N, C, H, H]
            with C 1 or 3, and labels [N], whole numbers from 0; NumPy arrays, or what NumPy takes.
            Without ``val`` a tenth of the training part is set apart.
        classes: names by label; the labels themselves without it.

    Raises:
        ValueError: the name is taken.
    """
    origin = str(sys._getframe(1).f_globals["__name__"])
    known = _known.get(name)
    if name in DATASETS or (known is not None and known.origin != origin):
        raise ValueError(f"dataset {name!r}: already registered; rename it")
    parts = {"train": train, "val": val, "test": test}
    loaders = {part: load for part, load in parts.items() if load is not None}
    custom = CustomDataset(
        name, loaders, None if classes is None else tuple(map(str, classes)), origin
    )
    _known[name] = custom
    for key in [key for key in _opened if key[0] == name]:
        del _opened[key]
    return custom


def get_dataset(name: str) -> CustomDataset:
    """What was made known by that name.

    Raises:
        InputError: nothing was.
    """
    if name not in _known:
        known = ", ".join((*DATASETS, *sorted(_known)))
        raise InputError(
            f"dataset {name}: unknown; choose from {known}, or name the module of your own with "
            "--models"
        )
    return _known[name]


def datasets_of(module: str) -> tuple[CustomDataset, ...]:
    """Those that a module has made known."""
    return tuple(custom for custom in _known.values() if custom.origin == module)


def open_custom(name: str, image_size: int | None = None) -> FunctionDataset:
    """The dataset of that name; its training part is asked for once a process.

    Raises:
        InputError: nothing is known by that name, or what it gives is wrong.
    """
    custom = get_dataset(name)
    if (name, image_size) not in _opened:
        _opened[name, image_size] = FunctionDataset(custom, image_size)
    return _opened[name, image_size]


class FunctionDataset(InMemoryDataset):
    """A dataset of a user's own; see ``InMemoryDataset``."""

    def __init__(self, custom: CustomDataset, image_size: int | None = None) -> None:
        self._custom = custom
        self._loaded: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        names = [f"{part}_{what}" for part in custom.parts for what in ("images", "labels")]
        super().__init__([*names, *(["classes"] if custom.classes is not None else [])], image_size)

    def _load(self, part: str) -> tuple[Images, Labels]:
        try:
            return super()._load(part)
        finally:
            self._loaded.pop(part, None)  # it is kept as it was checked, or not at all

    def _array(self, name: str) -> NDArray[Any]:
        if name == "classes":
            return np.array(self._custom.classes)
        part, _, what = name.partition("_")
        if part not in self._loaded:
            try:
                images, labels = self._custom.parts[part]()
                self._loaded[part] = np.asarray(images), np.asarray(labels)
            except (Exception, SystemExit) as error:  # whatever a user's function raises
                why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise self._wrong(f"its function for {part} failed ({why})") from error
        images, labels = self._loaded[part]
        return images if what == "images" else labels

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"--dataset {self._custom.name}: {' '.join(what.split())}; "
            f"mend it in {self._custom.origin}"
        )
