"""One stage: a learner trained from its sources, epoch by epoch.

Knows neither store nor trial. Every random draw comes from a generator seeded by the stage's
key, the purpose and the epoch, so that a stage carried on from a checkpoint ends bit-identical
to one that was never stopped.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.data.views import Views
from dgkd_search.device import DeviceData, accuracy
from dgkd_search.errors import StageFailed
from dgkd_search.guidance import draw_survivors, guidance_loss
from dgkd_search.identity import StageSpec, derive_seed
from dgkd_search.models import build
from dgkd_search.schedules import learning_rate


@dataclass(frozen=True)
class EpochRow:
    """What one epoch gave.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's images.
        val_accuracy: in percent, after the epoch.
        seconds: wall time of the epoch, evaluation included.
    """

    epoch: int
    train_loss: float
    val_accuracy: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source(Protocol):
    """A frozen model that teaches."""

    def logits(self, images: Tensor, rows: Tensor, bank: int) -> Tensor:
        """Logits, float [B, C] without gradient, on the images' views under ``bank``.

        Args:
            images: normalised float [B, channels, size, size], the views themselves.
            rows: int64 [B], the images' places in the training part.
            bank: number of the bank of views.
        """


class OnlineSource:
    """A source that is run on every batch."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model.to(device).eval().requires_grad_(False)

    def logits(self, images: Tensor, rows: Tensor, bank: int) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.model(images)
        return logits.clone()  # a normal tensor: autograd may save it for the learner's loss


@dataclass
class Learner:
    """A model in training.

    Args:
        spec: what to train, and how.
        data: on the device where training happens.
        sources: the frozen models, in the order of ``spec.sources``.

    Raises:
        StageFailed: from ``train_epoch``: non-finite loss, or the device is out of memory.
    """

    spec: StageSpec
    data: DeviceData
    sources: Sequence[Source] = ()

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.spec.sources):
            raise ValueError(f"{len(self.spec.sources)} sources needed, got {len(self.sources)}")
        recipe = self.spec.recipe
        model = build(self.spec.architecture, self._generator("initialisation"))
        self.model = model.to(self.data.device).to(memory_format=self._memory_format)
        self._parameters = list(self.model.parameters())
        self._optimiser = torch.optim.SGD(
            self._parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
        )
        # Views depend on the data alone: every learner of a source sees the same banks.
        self._views = Views(
            len(self.data.images),
            self.data.info.image_size,
            recipe.augment,
            derive_seed("views", self.data.info.fingerprint),
        )
        self.rows: list[EpochRow] = []

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.rows)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.spec.recipe.epochs

    def train_epoch(self) -> EpochRow:
        """Train the next epoch and evaluate on validation."""
        start = time.perf_counter()
        with _numerics(self.spec), enough_memory(self.spec):
            loss = self._train()
            value = self._accuracy()
        row = EpochRow(self.epoch + 1, loss, value, time.perf_counter() - start)
        self.rows.append(row)
        return row

    def weights(self) -> bytes:
        """The model as safetensors."""
        return _serialise(self.model.state_dict())

    def checkpoint(self) -> bytes:
        """Weights and optimiser state as safetensors; with ``rows`` enough to go on."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for i, parameter in enumerate(self._parameters):
            state = self._optimiser.state.get(parameter, {})
            if state.get("momentum_buffer") is not None:
                tensors[f"momentum.{i}"] = state["momentum_buffer"]
        return _serialise(tensors)

    def restore(self, checkpoint: bytes, rows: Sequence[EpochRow]) -> None:
        """Go on after the last of ``rows`` from what ``checkpoint`` wrote then."""
        tensors = safetensors.torch.load(checkpoint)
        prefix = "model."
        self.model.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        for i, parameter in enumerate(self._parameters):
            buffer = tensors.get(f"momentum.{i}")
            if buffer is not None:
                restored = torch.empty_like(parameter).copy_(buffer)
                self._optimiser.state[parameter]["momentum_buffer"] = restored
        self.rows = list(rows)

    @property
    def _name(self) -> str:
        return self.spec.architecture.name

    @property
    def _memory_format(self) -> torch.memory_format:
        last = self.spec.numerics.memory_format == "channels_last"
        return torch.channels_last if last else torch.contiguous_format

    def _generator(self, purpose: str, epoch: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.spec.seed, purpose, epoch))

    def _batches(self) -> Sequence[Tensor]:
        """Rows of this epoch's mini-batches, shuffled; a last single image is left out."""
        order = torch.randperm(
            len(self.data.images), generator=self._generator("order", self.epoch)
        )
        batches = torch.split(order.to(self.data.device), self.spec.recipe.batch_size)
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches

    def _survivors(self, steps: int) -> list[list[int]]:
        """The sources that teach, for each mini-batch of this epoch."""
        if self.spec.distillation is None:
            return [[]] * steps
        mask = draw_survivors(
            steps,
            len(self.sources),
            self.spec.distillation.drop_prob,
            self._generator("drop", self.epoch),
        )
        return [[i for i, alive in enumerate(row) if alive] for row in mask.tolist()]

    def _train(self) -> float:
        self.model.train()
        recipe, spec = self.spec.recipe, self.spec
        bank = self.epoch % recipe.views
        batches = self._batches()
        survivors = self._survivors(len(batches))
        total = torch.zeros((), device=self.data.device)
        count = 0
        for i, rows in enumerate(batches):
            views = self._views.apply(self.data.images[rows], rows, bank)
            images = self.data.normalise(views).contiguous(memory_format=self._memory_format)
            labels = self.data.labels[rows]
            rate = learning_rate(recipe, self.epoch * len(batches) + i, len(batches))
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            with _autocast(spec):
                taught = [self.sources[s].logits(images, rows, bank) for s in survivors[i]]
                logits = self.model(images)
            loss = guidance_loss(
                logits,
                labels,
                torch.stack(taught) if taught else None,
                len(self.sources),
                spec.distillation,
            )
            self._optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._optimiser.step()
            total += loss.detach() * len(rows)  # stays on the device: no waiting inside an epoch
            count += len(rows)
        mean = float(total) / count
        if not math.isfinite(mean):
            raise self._diverged(f"the loss became {mean}")
        return mean

    def _accuracy(self) -> float:
        with _autocast(self.spec):
            data = self.data
            value = accuracy(self.model, data.normalise, data.val_images, data.val_labels)
        if math.isnan(value):
            raise self._diverged("the model's outputs are no longer finite")
        return value

    def _diverged(self, what: str) -> StageFailed:
        return StageFailed(
            f"{self._name}: {what} in epoch {self.epoch + 1}; "
            f"lower --lr (it is {self.spec.recipe.lr:g})"
        )


@contextlib.contextmanager
def enough_memory(spec: StageSpec) -> Iterator[None]:
    """Raises StageFailed where the device has too little memory for the stage."""
    try:
        yield
    except torch.OutOfMemoryError:
        size = spec.recipe.batch_size
        raise StageFailed(
            f"{spec.architecture.name}: out of memory on the device with batch size {size}; "
            f"try --batch-size {max(2, size // 2)} or a larger --gpus-per-trial"
        ) from None


def train_stage(spec: StageSpec, data: PreparedData, sources: Sequence[nn.Module] = ()) -> Learner:
    """Train one model from start to end in this process.

    Args:
        sources: trained models in the order of ``spec.sources``; they are frozen.

    Returns:
        The finished learner: ``learner.model``, ``learner.rows``.
    """
    device = torch.device(spec.numerics.device_type)
    with enough_memory(spec):
        learner = Learner(
            spec, DeviceData(data, device), [OnlineSource(source, device) for source in sources]
        )
    while not learner.finished:
        learner.train_epoch()
    return learner


def _serialise(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def _autocast(spec: StageSpec) -> contextlib.AbstractContextManager[None]:
    if spec.numerics.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(spec.numerics.device_type, torch.bfloat16)


@contextlib.contextmanager
def _numerics(spec: StageSpec) -> Iterator[None]:
    """The settings that decide the last bits, for the time of an epoch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(spec.numerics.threads)
    try:
        # enabled is False by default here, which would leave cuDNN out altogether
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(threads)
