"""Datasets of a user's own: functions that give arrays, in a module that a search imports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgkd_search.data.config import DataConfig
from dgkd_search.data.in_memory import InMemoryDataset
from dgkd_search.data.kinds import DatasetKind, register_dataset
from dgkd_search.data.types import Images, Labels
from dgkd_search.errors import InputError, one_line
from dgkd_search.utils.registry import calling_module

Load = Callable[[], tuple[Any, Any]]  # images and labels, as ``InMemoryDataset`` has them


def dataset(
    name: str,
    /,
    *,
    train: Load,
    val: Load | None = None,
    test: Load | None = None,
    classes: Sequence[str] | None = None,
    augment: str = "none",
    tiny: bool = False,
) -> DatasetKind:
    """Make a dataset of your own known to searches, as ``--dataset NAME``.

    Call it at the top of a module, and name that module with ``--models``. The functions are called
    on the driver alone, and ``test`` not before the search is over; workers map what was prepared.

    Args:
        name: what ``--dataset`` calls it.
        train, val, test: each gives images, uint8 [N, H, H] (gray), [N, H, H, C] or [N, C, H, H]
            with C 1 or 3, and labels [N], whole numbers from 0; NumPy arrays, or what NumPy takes.
            Without ``val`` a tenth of the training part is set apart.
        classes: names by label; the labels themselves without it.
        augment: what ``--augment`` is unless it is given.
        tiny: whether it is learnt in seconds, so that few trials and epochs are the default.

    Arrays aren't streamed; for image files see ``register_dataset``.

    Raises:
        ValueError: the name is taken, or the augmentation is unknown.
    """
    origin = calling_module()
    parts = {"train": train, "val": val, "test": test}
    loaders = {part: load for part, load in parts.items() if load is not None}
    labels = None if classes is None else tuple(map(str, classes))
    opened: dict[int | None, FunctionDataset] = {}  # by size; the functions may take long

    def open_once(config: DataConfig) -> FunctionDataset:
        size = config.image_size
        if size not in opened:
            opened[size] = FunctionDataset(name, loaders, labels, origin, size)
        return opened[size]

    kind = DatasetKind(name, open_once, augment, tiny=tiny)
    register_dataset(kind, origin)
    return kind


class FunctionDataset(InMemoryDataset):
    """A dataset of a user's own; see ``InMemoryDataset``.

    Args:
        parts: the functions, by ``train``, ``val``, ``test``.
        classes: their names, or None.
        origin: module that made it known.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[str, Load],
        classes: tuple[str, ...] | None,
        origin: str,
        image_size: int | None = None,
    ) -> None:
        self._name, self._origin = name, origin
        self._functions, self._class_names = parts, classes
        self._given: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        names = [f"{part}_{what}" for part in parts for what in ("images", "labels")]
        super().__init__([*names, *(["classes"] if classes is not None else [])], image_size)

    def _load(self, part: str) -> tuple[Images, Labels]:
        try:
            return super()._load(part)
        finally:
            self._given.pop(part, None)  # it is kept as it was checked, or not at all

    def _array(self, name: str) -> NDArray[Any]:
        if name == "classes":
            return np.array(self._class_names)
        part, _, what = name.partition("_")
        if part not in self._given:
            try:
                images, labels = self._functions[part]()
                self._given[part] = np.asarray(images), np.asarray(labels)
            except (Exception, SystemExit) as error:  # whatever a user's function raises
                why = one_line(error, 200, with_class=True)
                raise self._wrong(f"its function for {part} failed ({why})") from error
        images, labels = self._given[part]
        return images if what == "images" else labels

    def _wrong(self, what: str) -> InputError:
        return InputError(f"--dataset {self._name}: {one_line(what)}; mend it in {self._origin}")
