"""DIST against loops over teachers, images and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dgkd_search.training.losses.dist import DIST

Array = NDArray[np.float64]


def softmax(logits: Array) -> list[float]:
    powers = [math.exp(value - max(logits)) for value in logits]
    return [power / sum(powers) for power in powers]


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    variances = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return covariance / (math.sqrt(variances) + 1e-8)


def naive(z: Array, teachers: Array, tau: float) -> float:
    total = 0.0
    student = [softmax(row / tau) for row in z]
    for logits in teachers:
        teacher = [softmax(row / tau) for row in logits]
        images = [pearson(s, t) for s, t in zip(student, teacher, strict=True)]
        columns = zip(zip(*student, strict=True), zip(*teacher, strict=True), strict=True)
        classes = [pearson(s, t) for s, t in columns]
        total += 1 - sum(images) / len(images) + 1 - sum(classes) / len(classes)
    return total


def divergence(z: Array, teachers: Array, tau: float) -> torch.Tensor:
    student = torch.tensor(z, requires_grad=True)
    return DIST().divergence(student, torch.tensor(teachers), tau)


@given(
    seed=st.integers(0, 10**6),
    teachers=st.integers(1, 4),
    batch=st.integers(2, 6),
    classes=st.integers(3, 6),
    tau=st.floats(1, 8),
)
@settings(max_examples=50)
def test_it_is_what_the_paper_says(
    seed: int, teachers: int, batch: int, classes: int, tau: float
) -> None:
    draw = np.random.default_rng(seed)
    z, taught = draw.normal(0, 3, (batch, classes)), draw.normal(0, 3, (teachers, batch, classes))
    assert divergence(z, taught, tau).item() == pytest.approx(naive(z, taught, tau), abs=1e-9)


def test_the_gradient_is_that_of_the_naive_reference() -> None:
    draw = np.random.default_rng(3)
    z, taught = draw.normal(0, 2, (3, 4)), draw.normal(0, 2, (2, 3, 4))
    student = torch.tensor(z, requires_grad=True)
    value = DIST().divergence(student, torch.tensor(taught), 2.5)
    (gradient,) = torch.autograd.grad(value, student)
    for place in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-5
        ahead, behind = (naive(z + s, taught, 2.5) for s in (step, -step))
        assert gradient[place].item() == pytest.approx((ahead - behind) / 2e-5, abs=1e-4)


def test_relations_are_kept_whatever_the_scale() -> None:
    """Opposite predictions of two classes give 2 + 2, equal ones give 0."""
    z = np.array([[2.0, 0.0], [0.0, 1.0]])
    assert divergence(z, z[None], 4).item() == pytest.approx(0, abs=1e-5)
    assert divergence(z, -z[None], 4).item() == pytest.approx(4, abs=1e-5)


@pytest.mark.parametrize("logits", [torch.zeros(3, 4), torch.ones(1, 4).cumsum(dim=1)], ids=str)
def test_where_nothing_varies_value_and_gradient_are_finite(logits: torch.Tensor) -> None:
    """For equal outputs on all images, and for a batch of one image."""
    student = logits.clone().requires_grad_()
    teachers = torch.arange(2.0 * logits.numel()).view(2, *logits.shape)
    value = DIST().divergence(student, teachers, 4.0)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.isfinite() and gradient.isfinite().all()
