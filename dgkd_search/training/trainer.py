"""Training of one stage, epoch by epoch.

This module knows neither the store nor trials. Every random draw comes from a generator seeded with
the stage's key, the purpose and the epoch, so that a stage resumed from a checkpoint ends
bit-identical to one that was never stopped.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dgkd_search.data import DataInfo
from dgkd_search.data.augmentation import Views
from dgkd_search.errors import StageFailed
from dgkd_search.models import build
from dgkd_search.training.batches import TrainingData
from dgkd_search.training.cuda_graphs import (
    Function,
    Graphed,
    Tensors,
    graphs_apply,
    side_stream,
)
from dgkd_search.training.determinism import autocast, deterministic, maybe_compile, memory_format
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.loss import distillation_loss, sample_teacher_mask
from dgkd_search.training.memory import free_cached, reraise_oom
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.optimizer import SGD
from dgkd_search.training.schedule import learning_rate
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.teachers import Teachers
from dgkd_search.training.weights import from_bytes, load_weights, to_bytes
from dgkd_search.utils.hashing import derive_seed


@dataclass
class Trainer:
    """Trains one model.

    Args:
        spec: the stage.
        data: the data, on the device of training.
        teachers: the teachers, in the order of ``spec.teachers``; None without teachers.

    Attributes:
        model: the model on the device.
        rows: results of the finished epochs.
    """

    spec: StageSpec
    data: TrainingData
    teachers: Teachers | None = None

    def __post_init__(self) -> None:
        count = 0 if self.teachers is None else len(self.teachers)
        if count != len(self.spec.teachers):
            raise ValueError(f"{len(self.spec.teachers)} teachers needed, got {count}")
        recipe = self.spec.recipe
        self._format = memory_format(self.spec.numerics)
        model = build(self.spec.architecture, self._generator("initialisation"))
        self.model = model.to(self.data.device).to(memory_format=self._format)
        self._forward = maybe_compile(self.model, self.spec.numerics)
        self._optimizer = SGD(self.model.parameters(), recipe)
        self._gradients = _gradients_of(self._forward, self._optimizer, self.spec)
        self._graphs: Graphed | None = None
        if graphs_apply(self.spec, self.data.device):
            self._graphs = Graphed(self._gradients, self.model.buffers())
        self._views = views_of(self.data.info, recipe.augment)
        self.rows: list[EpochMetrics] = []

    @property
    def sources(self) -> Teachers | None:
        """The former name of ``teachers``."""
        return self.teachers

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.rows)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.spec.recipe.epochs

    @property
    def bank(self) -> int:
        """Number of the bank of views for the next epoch."""
        return self.epoch % self.spec.recipe.views

    def train_epoch(self) -> EpochMetrics:
        """Train the next epoch, and evaluate the model on the validation set.

        Raises:
            StageFailed: training diverged, a custom loss failed, an image cannot be read, or
                memory is short.
        """
        start = time.perf_counter()
        with (
            deterministic(self.spec.numerics),
            reraise_oom(self.spec, self._largest_fitting_batch),
            self._seeded_global_rng(),
        ):
            loss, taught = self._train()
            value = self._accuracy_beside_graphs()
        row = EpochMetrics(self.epoch + 1, loss, value, time.perf_counter() - start, taught)
        self.rows.append(row)
        return row

    def weights(self) -> bytes:
        """Return the model's weights as safetensors."""
        return to_bytes(self.model.state_dict())

    def checkpoint(self) -> bytes:
        """Return weights and optimizer state as safetensors, for ``restore``."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        return to_bytes(tensors | self._optimizer.state())

    def restore(self, checkpoint: bytes, rows: Sequence[EpochMetrics]) -> None:
        """Continue after the last of ``rows`` from the ``checkpoint`` of that epoch."""
        tensors = from_bytes(checkpoint)
        prefix = "model."
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        load_weights(self.model, self.spec.architecture, weights)
        self._optimizer.restore(tensors)
        self.rows = list(rows)

    @property
    def _name(self) -> str:
        return self.spec.architecture.name

    def _generator(self, purpose: str, epoch: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.spec.seed, purpose, epoch))

    @contextlib.contextmanager
    def _seeded_global_rng(self) -> Iterator[None]:
        """Seed torch's global generators for custom networks and losses, for example for dropout.

        The seed depends on the epoch, so that a stage resumed from a checkpoint ends the same.
        Built-in networks and losses draw nothing.
        """
        if not self.spec.origins:
            yield
            return
        devices = [self.data.device] if self.data.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(self.spec.seed, "network", self.epoch))
            yield

    def _batches(self) -> Sequence[Tensor]:
        """Return the rows of this epoch's mini-batches, shuffled.

        A last batch of one image is left out, as batch normalization needs two.
        """
        order = torch.randperm(self.data.count, generator=self._generator("order", self.epoch))
        batches = torch.split(order, self.spec.recipe.batch_size)
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches

    def _survivors(self, steps: int) -> list[list[int]]:
        """Return the indices of the surviving teachers for each mini-batch of this epoch."""
        if self.spec.distillation is None or self.teachers is None:
            return [[]] * steps
        mask = sample_teacher_mask(
            steps,
            len(self.teachers),
            self.spec.distillation.drop_prob,
            self._generator("drop", self.epoch),
        )
        return [[i for i, alive in enumerate(row) if alive] for row in mask.tolist()]

    def _train(self) -> tuple[float, int]:
        self.model.train()
        batches = self._batches()
        survivors = self._survivors(len(batches))
        with side_stream(self.data.device) if self._graphs else contextlib.nullcontext():
            return self._steps(batches, survivors)

    def _steps(
        self, batches: Sequence[Tensor], survivors: Sequence[Sequence[int]]
    ) -> tuple[float, int]:
        recipe, bank = self.spec.recipe, self.bank
        total = torch.zeros((), device=self.data.device)
        count = taught = 0
        for i, (rows, views) in enumerate(self.data.batches(batches, self._views, bank)):
            rate = learning_rate(recipe, self.epoch * len(batches) + i, len(batches))
            batch = self._batch(rows, views, bank, survivors[i])
            loss, *gradients = (self._graphs or self._gradients)(*batch)
            assert loss is not None
            self._optimizer.step(rate, gradients)
            del gradients  # else they would occupy memory beside the next ones
            total += loss * len(rows)  # stays on the device, so that the host does not wait
            count += len(rows)
            taught += len(rows) * len(survivors[i])
        mean = float(total) / count
        if not math.isfinite(mean):
            raise self._diverged(f"the loss became {mean}")
        return mean, taught

    def _batch(
        self, rows: Tensor, views: Tensor, bank: int, survivors: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return images, labels and the surviving teachers' logits of one mini-batch."""
        images = views.contiguous(memory_format=self._format)
        guidance = None
        if self.teachers is not None and survivors:
            guidance = self.teachers.logits(survivors, images, rows, bank)
        return images, self.data.labels(rows), guidance

    def _largest_fitting_batch(self) -> int | None:
        """Return the largest of a half, a quarter, ... of the batch size that fits in memory.

        Each size is tried with a step and an evaluation, which changes the model. None if no size
        fits.
        """
        if self._graphs:
            self._graphs.release()
        survivors = range(len(self.spec.teachers)) if self.teachers is not None else ()
        size = self.spec.recipe.batch_size // 2
        while size >= 2:
            free_cached(self.data.device)
            self._optimizer.zero_grad()
            with contextlib.suppress(torch.OutOfMemoryError):
                batch = [torch.arange(min(size, self.data.count))]
                for rows, views in self.data.batches(batch, self._views, self.bank):
                    self._gradients(*self._batch(rows, views, self.bank, survivors))
                self._accuracy()
                return size
            size //= 2
        return None

    def _accuracy_beside_graphs(self) -> float:
        if self._graphs is not None:
            with contextlib.suppress(torch.OutOfMemoryError):
                return self._accuracy()
            if self._graphs.release():  # their memory may suffice
                free_cached(self.data.device)
        return self._accuracy()

    def _accuracy(self) -> float:
        with autocast(self.spec.numerics):
            batches = self.data.validation()
            value = accuracy(
                self.model, ((x.contiguous(memory_format=self._format), y) for x, y in batches)
            )
        if math.isnan(value):
            raise self._diverged("the model's outputs are no longer finite")
        return value

    def _diverged(self, what: str) -> StageFailed:
        return StageFailed(
            f"{self._name}: {what} in epoch {self.epoch + 1}; "
            f"lower --lr (it is {self.spec.recipe.lr:g})"
        )


def _gradients_of(forward: Callable[[Tensor], Tensor], optimizer: SGD, spec: StageSpec) -> Function:
    """Return a function from images, labels and surviving teachers' logits to loss and gradients.

    It is not a method, so that no reference cycle delays freeing a trainer's device memory.
    """

    def gradients(images: Tensor, labels: Tensor, guidance: Tensor | None) -> Tensors:
        with autocast(spec.numerics):
            logits = forward(images)
        loss = distillation_loss(logits, labels, guidance, len(spec.teachers), spec.distillation)
        return (loss.detach(), *optimizer.gradients(loss))

    return gradients


def views_of(info: DataInfo, augment: str) -> Views:
    """Return the views of a training set.

    They depend only on the data and the augmentation, so that all learners share banks.
    """
    seed = derive_seed("views", info.fingerprint)
    return Views(info.train_count, info.image_size, augment, seed)
