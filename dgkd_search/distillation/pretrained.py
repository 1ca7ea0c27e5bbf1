"""Pretrained teachers: reading a user's weights, and measuring their accuracy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dgkd_search.data import PreparedData
from dgkd_search.distillation.checkpoint_file import open_checkpoint
from dgkd_search.distillation.stored_stages import stored_record
from dgkd_search.distillation.weight_fit import fit, some
from dgkd_search.errors import InputError
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import to_earlier_names
from dgkd_search.store.store import Store
from dgkd_search.training.determinism import autocast, deterministic, memory_format
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.memory import reraise_oom
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.streaming import open_data
from dgkd_search.training.weights import load_model, to_bytes
from dgkd_search.utils.hashing import sha256


@dataclass(frozen=True)
class PretrainedTeacher:
    """Pretrained weights that fit an architecture.

    Attributes:
        path: the file that they were read from.
        weights: safetensors, with the names of the architecture.
        checksum: checksum of the weights, which does not depend on the file's format. It is part of
            keys, and so the weights have the names of earlier versions in it.
        notes: what the user should know about the choice of the weights.
    """

    path: Path
    weights: bytes
    checksum: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        notes: tuple[str, ...] = (),
    ) -> PretrainedTeacher:
        """Describe weights; ``tensors`` has the names and the order of the architecture."""
        earlier = to_bytes(to_earlier_names(architecture.family, tensors))
        return cls(path, to_bytes(tensors), sha256(earlier)[:32], notes)


def read_teacher(path: Path, architecture: Architecture) -> PretrainedTeacher:
    """Read the weights of an architecture from a file.

    Args:
        path: a safetensors file, or a checkpoint of ``torch.save``; its suffix does not matter. No
            code of it is run. In a checkpoint, the state dict may be at any key, beside anything
            else; of several that fit, the first in the order of ``weight_fit.PREFERRED`` is read.
            Its names may have any prefix. They are those of the architecture, of a known
            repository or of an earlier version; see ``models.weight_names``.
        architecture: the network that the weights belong to.

    Raises:
        InputError: the file cannot be read, or its weights do not fit; names those that do not.
    """
    label = f"--teacher-weights {path}"
    expected = build(architecture, torch.Generator()).state_dict()
    with open_checkpoint(path, label) as checkpoint:
        found, notes = fit(checkpoint, architecture, expected, label)
        tensors = {
            name: _cast(name, found.tensors[name].load(), tensor, label)
            if name in found.tensors
            else tensor  # a counter
            for name, tensor in expected.items()
        }
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise InputError(f"{label}: not finite: {some(bad)}; give finite weights")
    return PretrainedTeacher.of(path, architecture, tensors, (*notes, *_caveats(architecture)))


def _cast(name: str, tensor: Tensor, expected: Tensor, label: str) -> Tensor:
    """Convert a tensor to the data type of the network.

    Raises:
        InputError: this would change more than the precision.
    """
    real = tensor.is_floating_point() or not expected.is_floating_point()
    if not real or tensor.is_complex() != expected.is_complex():
        kinds = [str(each.dtype).removeprefix("torch.") for each in (tensor, expected)]
        raise InputError(f"{label}: {name} is {kinds[0]}; give weights in {kinds[1]}")
    if expected.dtype == torch.int64 and not tensor.float().isfinite().all():
        return expected  # a counter that overflowed in half precision, and has no effect
    return tensor.to(expected.dtype)


def _caveats(architecture: Architecture) -> tuple[str, ...]:
    if architecture.family == "vgg" and architecture.image_size == 64:
        return (
            "RepDistiller's and mdistiller's VGG pools once more on images of 64 x 64; weights "
            "from there have another function here",
        )
    return ()


@dataclass(frozen=True)
class PretrainedStage:
    """A pretrained teacher as a finished stage."""

    record: StageRecord
    weights: bytes

    @property
    def val_accuracy(self) -> float:
        """Validation accuracy in percent."""
        return self.record.rows[-1].val_accuracy

    def put_into(self, store: Store) -> None:
        """Store it."""
        store.put(self.record.spec.key, self.weights, self.record.to_json())


def as_stage(
    teacher: PretrainedTeacher, spec: StageSpec, data: PreparedData, store: Store | None
) -> PretrainedStage:
    """Return the teacher as a finished stage; measure its accuracy unless the store contains it.

    Args:
        teacher: the pretrained weights.
        spec: the teacher's stage, from ``Planner.teacher``.
        data: the prepared data.
        store: the store that may contain the stage, or None.
    """
    record = stored_record(store, spec) if store is not None else None
    if record is None:
        record = StageRecord(spec, (measure(spec, data, teacher.weights),))
    return PretrainedStage(record, teacher.weights)


def measure(spec: StageSpec, data: PreparedData, weights: bytes) -> EpochMetrics:
    """Measure the validation accuracy of pretrained weights, as training does.

    It runs on a GPU if the stage is for one and this process has one.

    Returns:
        A single epoch, with loss 0.
    """
    began = time.perf_counter()
    numerics = spec.numerics
    wanted = numerics.device_type if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    with deterministic(numerics), reraise_oom(spec):
        training_data = open_data(data, device, numerics.threads)
        form = memory_format(numerics)
        model = load_model(spec, weights).to(device).to(memory_format=form)
        # A driver without a GPU measures in full precision, even if trials run on GPUs.
        with autocast(numerics) if wanted == numerics.device_type else contextlib.nullcontext():
            batches = ((x.contiguous(memory_format=form), y) for x, y in training_data.validation())
            value = accuracy(model, batches)
    return EpochMetrics(1, 0.0, value, time.perf_counter() - began)
