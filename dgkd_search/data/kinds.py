"""The datasets by name: what each needs, and how it is opened.

Another one is a kind here or, in a package of one's own, ``dgkd_search.dataset(...)`` for arrays
and ``dgkd_search.register_dataset(kind)`` for all else. Nothing that a dataset comes from is
imported before it is opened.
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
    """A dataset that a search can be asked for.

    Attributes:
        name: what ``--dataset`` calls it.
        open: from a configuration that ``data_problems`` found nothing wrong with.
        augment: unless another is asked for. (A mirrored digit is another picture altogether, and
            of arrays nobody knows what they show.)
        data_dir: what ``--data-dir`` names: a folder, a file, or nothing, where it isn't allowed.
        content: what the folder or file holds, where it must be given; else empty.
        elsewhere: why none may be given.
        streamable: whether images may be read from their files batch by batch; what ``open`` gives
            is ``ImageFiles`` then.
        tiny: whether it is learnt in seconds, with few trials.
        family: of the networks, unless another is asked for or named by a model.
        title: whether figures call it by what ``--data-dir`` names.
        class_count: of a dataset that may have to be fetched (``Downloadable``): it lets models be
            checked before any file is there. None reads the classes.

    Raises:
        ValueError: an unknown augmentation, or fewer than two classes.
    """

    name: str
    open: Callable[[DataConfig], Dataset]
    augment: str = "none"
    data_dir: Literal["folder", "file", ""] = ""
    content: str = ""
    elsewhere: str = "datasets of your own know where they lie; leave it out"
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
            elsewhere="the digits are embedded; leave it out, or name another --dataset",
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
            "the folder that holds train/ and test/, one sub-folder a class",
            streamable=True,
            title=True,
        ),
        DatasetKind(
            "arrays", _arrays, data_dir="file", content="the .npz file that holds them", title=True
        ),
    ),
)


def register_dataset(kind: DatasetKind, origin: str | None = None) -> None:
    """Make a dataset known to searches, as ``--dataset NAME``.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.datasets`` under the dataset's name.

    Args:
        origin: the module that does, the caller's by default; imported again, it replaces its own.

    Raises:
        ValueError: the name is taken.
    """
    _registry.register(kind, origin or calling_module())


def get_dataset(name: str, label: str | None = None) -> DatasetKind:
    """The dataset of that name.

    Raises:
        InputError: there is none.
    """
    return _registry.get(name, label)


def dataset_names() -> tuple[str, ...]:
    """Names of the datasets that are built in, registered or installed."""
    return _registry.names()


def data_problems(config: DataConfig) -> list[str]:
    """What is wrong with what a user said of the data, an option a message; no file is opened."""
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
            f"--images stream: only image files are streamed ({streamed}), not {kind.name}; leave "
            "it out, or use another --dataset"
        )
    return problems


def _wrong_place(kind: DatasetKind, config: DataConfig) -> list[str]:
    path = _path(config)
    if not kind.data_dir:
        return [f"--data-dir {config.data_dir}: {kind.elsewhere}"]
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError:  # it can't be looked at; whoever opens it says why
        return []
    if kind.data_dir == "folder" and exists and not is_folder:
        return [f"--data-dir {path}: is a file; name a folder"]
    if kind.data_dir == "file" and is_folder:
        return [f"--data-dir {config.data_dir}: is a folder; name {kind.content}"]
    return []
