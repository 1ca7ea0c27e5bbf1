"""A teacher that a user brings along: its weights read, fitted to the architecture, measured."""

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

_SHOWN = 3  # of the names that don't fit
# Where training scripts keep the weights among other things, and what they put before each name.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class PretrainedTeacher:
    """Weights that fit an architecture.

    Attributes:
        path: the file that they come from.
        weights: as safetensors, under our names.
    """

    path: Path
    weights: bytes

    @property
    def checksum(self) -> str:
        """Of the weights alone: the same for both kinds of files."""
        return sha256(self.weights)[:32]


def read_teacher(path: Path, architecture: Architecture) -> PretrainedTeacher:
    """The weights in a file, for this architecture.

    Args:
        path: safetensors, or a checkpoint of ``torch.save`` that holds tensors (it is read with
            ``weights_only=True``: no code in it runs). A state dict may lie under ``state_dict``,
            ``model_state_dict`` or ``model`` in it.

    Raises:
        InputError: it can't be read, or holds other weights; what doesn't fit is named.
    """
    label = f"--teacher-weights {path}"
    tensors = _unwrap(_read(path, label), label)
    expected = build(architecture, torch.Generator()).state_dict()
    for prefix in _PREFIXES:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    for name in counters - tensors.keys():  # old checkpoints lack them, and nothing depends on them
        tensors[name] = expected[name]
    problems = []
    for what, names in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has too many:", tensors.keys() - expected.keys()),
    ):
        if names:
            problems.append(f"{label}: {what} {_some(sorted(names))}")
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if shapes:
        problems.append(f"{label}: other shapes: {_some(shapes)}")
    if problems:
        problems[-1] += f"; give weights of {architecture.name} for {architecture.classes} classes"
        raise InputError(problems)
    fitted = {name: tensors[name].to(tensor.dtype) for name, tensor in expected.items()}
    bad = [name for name, tensor in fitted.items() if not tensor.isfinite().all()]
    if bad:
        raise InputError(f"{label}: {_some(bad)} aren't finite; give weights that are")
    return PretrainedTeacher(path, to_bytes(fitted))


@dataclass(frozen=True)
class PretrainedStage:
    """A teacher that was brought along, as a finished stage."""

    record: StageRecord
    weights: bytes

    @property
    def val_accuracy(self) -> float:
        """In percent."""
        return self.record.rows[-1].val_accuracy

    def put_into(self, store: Store) -> None:
        """Have a store hold it."""
        store.put(self.record.spec.key, self.weights, self.record.to_json())


def as_stage(
    teacher: PretrainedTeacher, spec: StageSpec, data: PreparedData, store: Store | None
) -> PretrainedStage:
    """The teacher as a finished stage; its accuracy is measured, unless the store knows it.

    Args:
        spec: its stage, from ``Planner.teacher``.
    """
    known = store.get(spec.key) if store is not None else None
    if known is not None:
        return PretrainedStage(StageRecord.from_json(spec, known.meta), teacher.weights)
    return PretrainedStage(
        StageRecord(spec, (measure(spec, data, teacher.weights),)), teacher.weights
    )


def measure(spec: StageSpec, data: PreparedData, weights: bytes) -> EpochMetrics:
    """What stands for the epochs of a teacher that wasn't trained here: its accuracy on
    validation, measured as training does, without a loss.

    On a GPU, if the stage is for one and this process has one.
    """
    began = time.perf_counter()
    numerics = spec.numerics
    wanted = numerics.device_type if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    with deterministic(numerics), reraise_oom(spec):
        at_hand = open_data(data, device, numerics.threads)
        form = memory_format(numerics)
        model = load_model(spec, weights).to(device).to(memory_format=form)
        # A driver without the GPU of its trials measures in full precision.
        with autocast(numerics) if wanted == numerics.device_type else contextlib.nullcontext():
            batches = ((x.contiguous(memory_format=form), y) for x, y in at_hand.validation())
            value = accuracy(model, batches)
    return EpochMetrics(1, 0.0, value, time.perf_counter() - began)


def _read(path: Path, label: str) -> Any:
    try:
        if path.suffix == ".safetensors":
            return from_bytes(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols; what can't be read is refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{label}: can't be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise InputError(f"{label}: is no safetensors file ({error})") from None
    except UnpicklingError:
        raise InputError(
            f"{label}: holds more than tensors, which isn't read, for it could run code; save its "
            "state dict alone"
        ) from None
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        why = one_line(error, 120)
        raise InputError(f"{label}: is damaged, or no file of weights ({why})") from None


def _unwrap(value: Any, label: str) -> dict[str, Tensor]:
    while isinstance(value, Mapping):
        if value and all(isinstance(tensor, Tensor) for tensor in value.values()):
            return {str(name): tensor for name, tensor in value.items()}
        inside = [value[name] for name in _WRAPPERS if isinstance(value.get(name), Mapping)]
        if not inside:
            break
        value = inside[0]
    raise InputError(f"{label}: holds no state dict, a table of tensors by name")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
