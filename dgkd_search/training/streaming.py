"""Streamed data: worker processes decode images during training, for folders larger than memory."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dgkd_search.data import PreparedData
from dgkd_search.data.augmentation import Views, crop_box
from dgkd_search.data.decoding import Crop, decode_images
from dgkd_search.data.file_list import FileList, FileListName
from dgkd_search.data.types import Images
from dgkd_search.errors import InputError, StageFailed, one_line
from dgkd_search.models.layers import Normalize
from dgkd_search.training.batches import DeviceData, TrainingData, evaluation_batch, split_to
from dgkd_search.training.loader_workers import WorkerContext, prepare_worker, start_fork_server
from dgkd_search.utils.system import cores

_MOST_WORKERS = 8
_PREFETCH = 2  # batches that each worker decodes ahead
_ADVICE = "if memory or processes are short, lower --concurrency or --batch-size"


def open_data(prepared: PreparedData, device: torch.device, threads: int = 1) -> TrainingData:
    """Open prepared data for training: loaded to the device or streamed, as they were prepared.

    Args:
        prepared: the prepared data.
        device: the device of training.
        threads: CPU threads that the caller may use; results do not depend on it.
    """
    if not prepared.info.streamed:
        return DeviceData(prepared, device)
    return StreamedData(prepared, device, worker_count(device, threads))


def worker_count(device: torch.device, threads: int) -> int:
    """Return the number of decoding processes, 8 at most.

    On a CPU it is the trial's number of threads. For a GPU, which would wait for a single process,
    it is the number of cores.
    """
    wanted = threads if device.type == "cpu" else cores()
    return max(1, min(wanted, cores(), _MOST_WORKERS))


class StreamedData:
    """Prepared data whose images are decoded when they are used; only labels stay on the device.

    Every iterator starts its own worker processes, and stops them when it ends or is closed. For
    equal pixels it yields the same bits as ``DeviceData``, for any number of workers. Iterators
    raise StageFailed if an image cannot be read or a worker dies.

    Args:
        prepared: the prepared data.
        device: the device of training.
        workers: processes per iterator, at least 1.
    """

    def __init__(self, prepared: PreparedData, device: torch.device, workers: int) -> None:
        self.info = prepared.info
        self.device = device
        self.count = prepared.info.train_count
        self.normalize = Normalize(self.info.mean, self.info.std).to(device)
        self._prepared, self._workers = prepared, workers
        train, validation = (prepared.listing(part).labels for part in ("train", "validation"))
        self._train_labels = torch.from_numpy(train).to(device)
        self._val_labels = torch.from_numpy(validation).to(device)

    def batches(
        self, batches: Sequence[Tensor], views: Views, bank: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        # A copy without its last bank: drawing the bank in each worker costs less than sending it.
        views = Views(views.count, views.image_size, views.augment, views.seed)
        images = _Images(self._prepared, "train", views, bank)
        with contextlib.closing(self._stream(images, batches)) as stream:
            yield from zip(split_to(batches, self.device), stream, strict=True)

    def labels(self, rows: Tensor) -> Tensor:
        return self._train_labels[rows]

    def in_order(self) -> Sequence[Tensor]:
        return torch.split(torch.arange(self.count), self._large)

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = torch.split(torch.arange(len(self._val_labels)), self._large)
        images = _Images(self._prepared, "validation")
        labels = torch.split(self._val_labels, self._large)
        with contextlib.closing(self._stream(images, batches)) as stream:
            yield from zip(stream, labels, strict=True)

    @property
    def _large(self) -> int:
        return evaluation_batch(self.device, self.info.image_size)

    def _stream(self, images: _Images, batches: Sequence[Tensor]) -> Generator[Tensor]:
        """Yield the normalized images of each batch, on the device."""
        if not batches:
            return
        iterator = _start(images, batches, self._workers, self.device.type == "cuda")
        try:
            for _ in batches:
                batch = _next(iterator)
                if batch.problem is not None:
                    raise StageFailed(batch.problem)
                yield self.normalize(batch.tensor().to(self.device, non_blocking=True))
        finally:
            # Deleting the last reference stops the workers, however this ends.
            del iterator


@dataclass
class _Batch:
    """A batch from a worker.

    Attributes:
        images: uint8 [B, C, H, W]; None if there is a problem. Workers send an array, which passes
            through a pipe: a tensor would pass through shared memory, often 64 MB in containers.
        problem: a one-line error message.
    """

    images: Images | Tensor | None
    problem: str | None = None

    def tensor(self) -> Tensor:
        return self.images if isinstance(self.images, Tensor) else torch.from_numpy(self.images)

    def pin_memory(self) -> _Batch:
        """Pin the images; the DataLoader calls this in a thread if the device is a GPU."""
        return self if self.images is None else _Batch(self.tensor().pin_memory())


class _Images(TorchDataset[_Batch]):
    """The images of one part, indexed by batches of rows.

    It is sent to the workers, so it contains no arrays.

    Args:
        prepared: the prepared data.
        part: the part.
        views: the views of the training set; None for the original images.
        bank: number of the bank of views.
    """

    def __init__(
        self, prepared: PreparedData, part: FileListName, views: Views | None = None, bank: int = 0
    ) -> None:
        self._prepared, self._part = prepared, part
        self._views, self._bank = views, bank

    @cached_property
    def _listing(self) -> FileList:
        return self._prepared.listing(self._part)

    def __getitem__(self, rows: NDArray[np.int64]) -> _Batch:
        info, views = self._prepared.info, self._views
        paths = self._listing.paths(rows.tolist())
        # Resized crops are taken from the original files, not from images resized before.
        resized = views is not None and views.resized
        crops = _crops(views, rows, self._bank) if views is not None and resized else None
        try:
            images = decode_images(
                paths, info.channels, info.image_size, info.decoded_by, threads=1, crops=crops
            )
        except InputError as error:
            # Returned, because an exception would show the user the worker's traceback.
            return _Batch(None, error.messages[0])
        if views is not None and not resized:
            shown = views.apply(torch.from_numpy(images), torch.from_numpy(rows), self._bank)
            images = shown.numpy()
        return _Batch(images)


def _crops(views: Views, rows: NDArray[np.int64], bank: int) -> list[Crop]:
    def crop(draws: Tensor, mirrored: bool) -> Crop:
        def box(width: int, height: int) -> tuple[tuple[float, float, float, float], bool]:
            left, top, wide, tall = crop_box(draws[None], width, height)[0].tolist()
            return (left, top, min(left + wide, width), min(top + tall, height)), mirrored

        return box

    return [crop(*drawn) for drawn in views.crops(torch.from_numpy(rows), bank)]


def _start(
    images: _Images, batches: Sequence[Tensor], workers: int, pinned: bool
) -> Iterator[_Batch]:
    """Start workers that decode batches ahead of time; the iterator yields them in order."""
    loader: DataLoader[_Batch] = DataLoader(
        images,
        batch_size=None,  # an item is already a batch
        sampler=[rows.numpy() for rows in batches],
        num_workers=min(workers, len(batches)),
        prefetch_factor=_PREFETCH,
        pin_memory=pinned,
        multiprocessing_context=WorkerContext(),
        worker_init_fn=prepare_worker,
        generator=torch.Generator(),  # else it would draw from torch's global generator
    )
    try:
        start_fork_server(__name__)  # imports torch once in the server, not in each worker
        return iter(loader)
    except (OSError, EOFError) as error:
        reason = one_line(error)
    raise StageFailed(f"the processes that decode images can't be started ({reason}); {_ADVICE}")


def _next(iterator: Iterator[_Batch]) -> _Batch:
    try:
        return next(iterator)
    except RuntimeError as error:
        reason = one_line(error)
        if not reason.startswith("DataLoader worker"):
            raise
    raise StageFailed(f"a process that decodes images died ({reason}); {_ADVICE}")
