"""Pretrained teachers: reading a user's weights, and measuring their accuracy."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from dgkd_search.data import PreparedData
from dgkd_search.errors import InputError, one_line
from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.store.store import Store
from dgkd_search.training.determinism import autocast, deterministic, memory_format
from dgkd_search.training.evaluation import accuracy
from dgkd_search.training.memory import reraise_oom
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.streaming import open_data
from dgkd_search.training.weights import from_bytes, load_model, to_bytes
from dgkd_search.utils.hashing import sha256

_SHOWN = 3  # names in an error message
# Keys of the state dict in checkpoints of training scripts, and prefixes of its names.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class PretrainedTeacher:
    """Pretrained weights that fit an architecture.

    Attributes:
        path: the file that they were read from.
        weights: safetensors, with the names of the architecture.
    """

    path: Path
    weights: bytes

    @property
    def checksum(self) -> str:
        """Checksum of the weights, which does not depend on the file's format."""
        return sha256(self.weights)[:32]


def read_teacher(path: Path, architecture: Architecture) -> PretrainedTeacher:
    """Read the weights of an architecture from a file.

    Args:
        path: a safetensors file, or a checkpoint written by ``torch.save``, which is read with
            ``weights_only=True`` so that it cannot run code. In a checkpoint, the state dict may be
            the value of ``state_dict``, ``model_state_dict`` or ``model``.
        architecture: the network that the weights belong to.

    Raises:
        InputError: the file cannot be read, or its weights do not fit; names those that do not.
    """
    label = f"--teacher-weights {path}"
    tensors = _unwrap(_read(path, label), label)
    expected = build(architecture, torch.Generator()).state_dict()
    for prefix in _PREFIXES:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    for name in counters - tensors.keys():  # missing in old checkpoints, and without effect
        tensors[name] = expected[name]
    problems = []
    for what, names in (
        ("missing tensors:", expected.keys() - tensors.keys()),
        ("unexpected tensors:", tensors.keys() - expected.keys()),
    ):
        if names:
            problems.append(f"{label}: {what} {_some(sorted(names))}")
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if shapes:
        problems.append(f"{label}: wrong shapes: {_some(shapes)}")
    if problems:
        problems[-1] += f"; give weights of {architecture.name} for {architecture.classes} classes"
        raise InputError(problems)
    fitted = {name: tensors[name].to(tensor.dtype) for name, tensor in expected.items()}
    bad = [name for name, tensor in fitted.items() if not tensor.isfinite().all()]
    if bad:
        raise InputError(f"{label}: not finite: {_some(bad)}; give finite weights")
    return PretrainedTeacher(path, to_bytes(fitted))


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
    known = store.get(spec.key) if store is not None else None
    if known is not None:
        return PretrainedStage(StageRecord.from_json(spec, known.meta), teacher.weights)
    return PretrainedStage(
        StageRecord(spec, (measure(spec, data, teacher.weights),)), teacher.weights
    )


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


def _read(path: Path, label: str) -> Any:
    try:
        if path.suffix == ".safetensors":
            return from_bytes(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; unreadable files raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{label}: can't be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise InputError(f"{label}: is not a safetensors file ({error})") from None
    except UnpicklingError:
        raise InputError(
            f"{label}: contains more than tensors and is not read, because it could run code; save "
            "its state dict alone"
        ) from None
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        why = one_line(error, 120)
        raise InputError(f"{label}: is damaged or not a file of weights ({why})") from None


def _unwrap(value: Any, label: str) -> dict[str, Tensor]:
    while isinstance(value, Mapping):
        if value and all(isinstance(tensor, Tensor) for tensor in value.values()):
            return {str(name): tensor for name, tensor in value.items()}
        inside = [value[name] for name in _WRAPPERS if isinstance(value.get(name), Mapping)]
        if not inside:
            break
        value = inside[0]
    raise InputError(f"{label}: contains no state dict; save a mapping of names to tensors")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
