"""Stages from the store, as records, models and trainers.

A checksum proves that a file is as it was written, not that it was written for this stage. What
doesn't fit its stage is moved away like a damaged entry, and trained again when it is needed.
"""

from __future__ import annotations

from safetensors import SafetensorError
from torch import nn

from dgkd_search.errors import one_line
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.training.trainer import Trainer
from dgkd_search.training.weights import load_model
from dgkd_search.utils.hashing import UNREADABLE

_UNFIT = (RuntimeError, SafetensorError, *UNREADABLE)


def stored_record(store: Store, spec: StageSpec) -> StageRecord | None:
    """Return the record of a finished stage, verified; None if it is missing or damaged."""
    if (entry := store.get(spec.key)) is None:
        return None
    try:
        return StageRecord.from_json(spec, entry.meta)
    except ValueError as error:
        store.reject(spec.key, one_line(error, 120))
        return None


def stored_model(store: Store, spec: StageSpec) -> nn.Module | None:
    """Return the model of a finished stage, verified; None if it is missing or damaged."""
    if (entry := store.get(spec.key)) is None:
        return None
    try:
        return load_model(spec, entry.tensors)
    except _UNFIT as error:
        if _is_of_the_machine(error):
            raise
        store.reject(spec.key, one_line(error, 120))
        return None


def restore_trainer(store: Store, spec: StageSpec, trainer: Trainer) -> bool:
    """Continue an unfinished stage from its checkpoint, if the store has one.

    Returns:
        False if the checkpoint doesn't fit. It is then moved away, and the trainer is useless.
    """
    if (partial := store.get_partial(spec.key)) is None:
        return True
    try:
        trainer.restore(partial.tensors, StageRecord.from_json(spec, partial.meta).rows)
    except _UNFIT as error:
        if _is_of_the_machine(error):
            raise
        store.reject(spec.key, one_line(error, 120), partial=True)
        return False
    return True


def _is_of_the_machine(error: Exception) -> bool:
    """Whether a lack of memory, or the device, caused an error; the entry may be sound."""
    return isinstance(error, RuntimeError) and any(
        word in str(error) for word in ("memory", "CUDA", "device")
    )
