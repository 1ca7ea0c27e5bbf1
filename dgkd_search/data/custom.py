"""Custom datasets: functions that return arrays, in a module that a search imports."""

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

Load = Callable[[], tuple[Any, Any]]  # returns images and labels, see ``InMemoryDataset``


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
    """Register a dataset of arrays as ``--dataset NAME``.

    Call it at the top level of a module, and pass that module to ``--models``. The functions are
    called only on the driver, ``test`` only after the search; workers map the prepared data.

    Arrays are not streamed; for image files see ``register_dataset``.

    Args:
        name: the name for ``--dataset``.
        train, val, test: functions that return images and labels of a part as NumPy arrays or
            array-likes. Images: uint8 [N, H, H] (gray), [N, H, H, C] or [N, C, H, H] with C 1
            or 3. Labels: integers [N] from 0. Other types: see ``InMemoryDataset``. Without
            ``val``, a tenth of the training set is used for validation.
        classes: class names by label; by default the labels themselves.
        augment: default of ``--augment``.
        tiny: whether a model learns it in seconds, so that searches default to few trials and
            epochs.

    Raises:
        ValueError: the name is taken, or the augmentation is unknown.
    """
    origin = calling_module()
    parts = {"train": train, "val": val, "test": test}
    loaders = {part: load for part, load in parts.items() if load is not None}
    labels = None if classes is None else tuple(map(str, classes))
    opened: dict[int | None, FunctionDataset] = {}  # by image size, as the functions may be slow

    def open_once(config: DataConfig) -> FunctionDataset:
        size = config.image_size
        if size not in opened:
            opened[size] = FunctionDataset(name, loaders, labels, origin, size)
        return opened[size]

    kind = DatasetKind(name, open_once, augment, tiny=tiny)
    register_dataset(kind, origin)
    return kind


class FunctionDataset(InMemoryDataset):
    """A custom dataset whose arrays come from functions; see ``InMemoryDataset``.

    Args:
        name: the dataset's name, for messages.
        parts: the functions by part: ``train``, ``val``, ``test``.
        classes: class names, or None.
        origin: the module that registered the dataset.
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
        self._arrays: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        names = [f"{part}_{what}" for part in parts for what in ("images", "labels")]
        super().__init__([*names, *(["classes"] if classes is not None else [])], image_size)

    def _load(self, part: str) -> tuple[Images, Labels]:
        try:
            return super()._load(part)
        finally:
            self._arrays.pop(part, None)  # ``_part`` keeps the checked arrays

    def _array(self, name: str) -> NDArray[Any]:
        if name == "classes":
            return np.array(self._class_names)
        part, _, what = name.partition("_")
        if part not in self._arrays:
            try:
                images, labels = self._functions[part]()
                self._arrays[part] = np.asarray(images), np.asarray(labels)
            except (Exception, SystemExit) as error:  # a user function may raise anything
                why = one_line(error, 200, with_class=True)
                raise self._wrong(f"the function for {part} failed ({why})") from error
        images, labels = self._arrays[part]
        return images if what == "images" else labels

    def _wrong(self, what: str) -> InputError:
        return InputError(f"--dataset {self._name}: {one_line(what)}; fix it in {self._origin}")
