"""The global random states, which training neither reads nor changes."""

from __future__ import annotations

import random

import numpy as np
import torch


def random_states() -> tuple[list[int], object, list[int]]:
    """Return the states of torch, ``random`` and NumPy as comparable values."""
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),  # noqa: NPY002
    )
