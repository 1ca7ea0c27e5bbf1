"""The registry of datasets: what each one needs, and how it is opened.

To add a dataset, add a ``DatasetKind`` here. Other packages call ``dgkd_search.dataset(...)`` for
arrays or ``dgkd_search.register_dataset(kind)`` for anything else. A dataset's library is imported
only when the dataset is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dgkd_search.data.config import AUGMENTS, DataConfig
from dgkd_search.errors import InputError
from dgkd_search.utils.registry import Registry, calling_module
from dgkd_search.utils.rules import field_problems

if TYPE_CHECKING:
    from dgkd_search.data.types import Dataset

FOLDER_IMAGE_SIZE = 32


@dataclass(frozen=True)
class DatasetKind:
    """A dataset that a search can use.

    Attributes:
        name: the name for ``--dataset``.
        open: opens the dataset, from a configuration for which ``data_problems`` returns nothing.
        augment: default of ``--augment``. (``none`` for digits, which mirroring would change, and
            for arrays, whose content is unknown.)
        data_dir: what ``--data-dir`` must be: a folder, a file, or empty if it is not allowed.
        content: a description of that folder or file if it is required, else empty.
        elsewhere: if ``--data-dir`` is not allowed, the reason.
        streamable: whether images can be streamed from their files; ``open`` must then return an
            ``ImageFiles``.
        tiny: whether a model learns it in seconds, so that searches default to few trials.
        family: default of ``--family``.
        title: whether figures show the name of ``--data-dir`` instead of the dataset's.
        class_count: number of classes of a ``Downloadable`` dataset, so that models can be checked
            before the download. None reads the classes from the files.

    Raises:
        ValueError: an unknown augmentation, or fewer than two classes.
    """

    name: str
    open: Callable[[DataConfig], Dataset]
    augment: str = "none"
    data_dir: Literal["folder", "file", ""] = ""
    content: str = ""
    elsewhere: str = "custom datasets open their own files; leave it out"
    streamable: bool = False
    tiny: bool = False
    family: str = "resnet"
    title: bool = False
    class_count: int | None = None

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTS:
            raise ValueError(
                f"dataset {self.name!r}: augment {self.augment!r} is unknown; choose from "
                f"{', '.join(AUGMENTS)}"
            )
        if self.class_count is not None and self.class_count < 2:
            raise ValueError(
                f"dataset {self.name!r}: class_count {self.class_count} is below 2; give the "
                "number of classes"
            )


def _path(config: DataConfig) -> Path:
    return Path(config.data_dir or "").expanduser()


def _digits(config: DataConfig) -> Dataset:
    from dgkd_search.data.digits import Digits

    return Digits(config.image_size)


def _cifar(config: DataConfig) -> Dataset:
    from dgkd_search.data.cifar import Cifar

    return Cifar(config.dataset, _path(config) if config.data_dir else None, config.image_size)


def _image_folder(config: DataConfig) -> Dataset:
    from dgkd_search.data.image_folder import ImageFolder

    return ImageFolder(_path(config), config.image_size or FOLDER_IMAGE_SIZE)


def _arrays(config: DataConfig) -> Dataset:
    from dgkd_search.data.npz import NpzDataset

    return NpzDataset(_path(config), config.image_size)


_registry = Registry[DatasetKind](
    "dataset",
    "dgkd_search.datasets",
    (
        DatasetKind(
            "digits",
            _digits,
            elsewhere="the digits come with scikit-learn; leave it out, or choose another "
            "--dataset",
            tiny=True,
            family="cnn",
        ),
        DatasetKind("cifar10", _cifar, "crop+flip", "folder", class_count=10),
        DatasetKind("cifar100", _cifar, "crop+flip", "folder", class_count=100),
        DatasetKind(
            "imagefolder",
            _image_folder,
            "crop+flip",
            "folder",
            "the folder that contains train/ and test/, one subfolder per class",
            streamable=True,
            title=True,
        ),
        DatasetKind(
            "arrays", _arrays, data_dir="file", content="the .npz file of the arrays", title=True
        ),
    ),
)


def register_dataset(kind: DatasetKind, origin: str | None = None) -> None:
    """Register a dataset as ``--dataset NAME``.

    Call it at the top level of a module. Pass that module to ``--models`` or, in a package, declare
    it as an entry point of the group ``dgkd_search.datasets`` under the dataset's name.

    Args:
        kind: the dataset.
        origin: name of the registering module, by default the caller's. When that module is
            imported again, its dataset is replaced.

    Raises:
        ValueError: the name is taken.
    """
    _registry.register(kind, origin or calling_module())


def get_dataset(name: str, label: str | None = None) -> DatasetKind:
    """Return the dataset called ``name``.

    Raises:
        InputError: there is none, or its package cannot be loaded.
    """
    return _registry.get(name, label)


def dataset_names() -> tuple[str, ...]:
    """Return the names of all built-in, registered and installed datasets."""
    return _registry.names()


def data_problems(config: DataConfig) -> list[str]:
    """Return a message for each invalid data option; no file is opened."""
    problems: list[str] = []
    kind = None
    try:
        kind = get_dataset(config.dataset, f"--dataset {config.dataset}")
    except InputError as error:
        problems += error.messages
    if kind is not None and config.data_dir:
        problems += _wrong_place(kind, config)
    elif kind is not None and kind.content:
        problems.append(f"--data-dir: missing; --dataset {kind.name} needs {kind.content}")
    problems += field_problems(config, prefix="--")
    if kind is not None and config.images == "stream" and not kind.streamable:
        streamed = ", ".join(known.name for known in _registry.known() if known.streamable)
        problems.append(
            f"--images stream: only image files can be streamed ({streamed}), not {kind.name}; "
            "leave it out, or choose another --dataset"
        )
    return problems


def _wrong_place(kind: DatasetKind, config: DataConfig) -> list[str]:
    path = _path(config)
    if not kind.data_dir:
        return [f"--data-dir {config.data_dir}: {kind.elsewhere}"]
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError:  # opening the dataset reports it
        return []
    if kind.data_dir == "folder" and exists and not is_folder:
        return [f"--data-dir {path}: is a file; name a folder"]
    if kind.data_dir == "file" and is_folder:
        return [f"--data-dir {config.data_dir}: is a folder; name {kind.content}"]
    return []
