from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.losses import LogitMSE
from helpers.registries import isolate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dgkd_search.training.loss import distillation_loss, sample_teacher_mask
from dgkd_search.training.losses.base import DistillationLoss
from dgkd_search.training.losses.dist import DIST
from dgkd_search.training.losses.registry import get_loss, register_loss
from dgkd_search.training.recipe import Distillation

Array = NDArray[np.float64]


def softmax(logits: Array) -> list[float]:
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def naive_loss(z: Array, y: list[int], sources: Array, b: list[int], d: Distillation) -> float:
    """Equation 7, term by term: loops over images, teachers and classes."""
    m, tau, lam = len(sources), d.temperature, d.kd_weight
    cross_entropy = sum(-math.log(softmax(z[n])[y[n]]) for n in range(len(z))) / len(z)
    if m == 0:
        return cross_entropy
    taught = 0.0
    for i in range(m):
        divergence = 0.0
        for n in range(len(z)):
            p, q = softmax(sources[i][n] / tau), softmax(z[n] / tau)
            divergence += sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)))
        taught += b[i] * tau**2 * divergence / len(z)
    loss = m * (1 - lam) * cross_entropy + lam * taught
    return loss / m if d.loss_scale == "mean" else loss


def loss_of(z: Array, y: list[int], sources: Array, b: list[int], d: Distillation) -> torch.Tensor:
    survivors = sources[[i for i, kept in enumerate(b) if kept]]
    return distillation_loss(
        torch.tensor(z), torch.tensor(y), torch.tensor(survivors), len(sources), d
    )


@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 5),
    classes=st.integers(2, 6),
    b=st.lists(st.integers(0, 1), min_size=1, max_size=5).filter(any),
    lam=st.floats(0, 1),
    tau=st.floats(0.5, 10),
    scale=st.sampled_from(["sum", "mean"]),
)
@settings(max_examples=100, deadline=None)
def test_loss_is_equation_7(
    seed: int, batch: int, classes: int, b: list[int], lam: float, tau: float, scale: str
) -> None:
    draw = np.random.default_rng(seed)
    z, sources = draw.normal(0, 3, (batch, classes)), draw.normal(0, 3, (len(b), batch, classes))
    y = draw.integers(0, classes, batch).tolist()
    settings_ = Distillation(lam, tau, scale)
    got = loss_of(z, y, sources, b, settings_).item()
    assert got == pytest.approx(naive_loss(z, y, sources, b, settings_), rel=1e-4, abs=1e-5)


# Two classes, z = (0, 0), label 0, so CE = ln 2 for any τ. A teacher with logits (τ·ln 3, 0) has
# softened probabilities (3/4, 1/4), and KL against (1/2, 1/2) is
#   3/4·ln(3/2) + 1/4·ln(1/2) = 3/4·ln 3 − ln 2 = 0.130812...
LN2, KL = 0.6931471805599453, 0.13081203594113694


@pytest.mark.parametrize(
    ("scale", "sources", "kept", "expected"),
    [
        # λ = 0.9, τ = 4, so τ² = 16: one teacher gives 0.1·ln 2 + 0.9·16·KL
        ("sum", 1, 1, 0.1 * LN2 + 14.4 * KL),
        # three equal teachers: 3·0.1·ln 2 + 3·14.4·KL = 3 times as much
        ("sum", 3, 3, 0.3 * LN2 + 43.2 * KL),
        ("mean", 3, 3, 0.1 * LN2 + 14.4 * KL),
        # one of three is dropped: the weight of labels stays m, and the mean divides by m, not by 2
        ("sum", 3, 2, 0.3 * LN2 + 28.8 * KL),
        ("mean", 3, 2, 0.1 * LN2 + 9.6 * KL),
    ],
)
def test_loss_is_what_a_hand_computes(scale: str, sources: int, kept: int, expected: float) -> None:
    z, source = torch.zeros(2, 2), torch.tensor([4 * math.log(3), 0.0]).expand(kept, 2, 2)
    loss = distillation_loss(z, torch.zeros(2).long(), source, sources, Distillation(0.9, 4, scale))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_divergence_is_not_divided_by_the_classes() -> None:
    # A hundred classes, 98 of them negligible (e^-200): the same two-class KL as above.
    z, source = torch.full((1, 100), -800.0), torch.full((1, 1, 100), -800.0)
    z[:, :2], source[..., 0], source[..., 1] = 0.0, 4 * math.log(3), 0.0
    loss = distillation_loss(z, torch.tensor([0]), source, 1, Distillation(1.0, 4.0))
    assert loss.item() == pytest.approx(16 * KL, rel=1e-5)


@pytest.mark.parametrize("scale", ["sum", "mean"])
def test_gradient_is_that_of_the_naive_reference(scale: str) -> None:
    draw = np.random.default_rng(3)
    z, sources, y, b = draw.normal(0, 2, (3, 4)), draw.normal(0, 2, (3, 3, 4)), [0, 3, 1], [1, 0, 1]
    settings_ = Distillation(0.7, 2.5, scale)
    logits = torch.tensor(z, requires_grad=True)
    survivors = torch.tensor(sources[[0, 2]])
    torch.autograd.backward(distillation_loss(logits, torch.tensor(y), survivors, 3, settings_))
    assert logits.grad is not None
    for place in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-5
        ahead, behind = (naive_loss(z + s, y, sources, b, settings_) for s in (step, -step))
        assert logits.grad[place].item() == pytest.approx((ahead - behind) / 2e-5, abs=1e-4)


def test_without_sources_the_loss_is_cross_entropy() -> None:
    z, y = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]]), torch.tensor([0, 2])
    expected = naive_loss(z.double().numpy(), [0, 2], np.empty((0, 2, 3)), [], Distillation())
    assert distillation_loss(z, y, None, 0, None).item() == pytest.approx(expected, rel=1e-6)


def test_one_source_makes_sum_and_mean_equal() -> None:
    draw = np.random.default_rng(0)
    z, sources = draw.normal(size=(4, 5)), draw.normal(size=(1, 4, 5))
    both = [
        loss_of(z, [0, 1, 2, 3], sources, [1], Distillation(0.9, 4, s)) for s in ("sum", "mean")
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize("scale", ["sum", "mean"])
def test_weight_0_ignores_sources_and_weight_1_ignores_labels(scale: str) -> None:
    draw = np.random.default_rng(1)
    z, one, other = draw.normal(size=(4, 5)), *draw.normal(size=(2, 2, 4, 5))
    y, w = [0, 1, 2, 3], [4, 4, 4, 4]
    labels, sources = Distillation(0, 4, scale), Distillation(1, 4, scale)
    assert loss_of(z, y, one, [1, 1], labels) == loss_of(z, y, other, [1, 1], labels)
    assert loss_of(z, y, one, [1, 1], labels) != loss_of(z, w, one, [1, 1], labels)
    assert loss_of(z, y, one, [1, 1], sources) == loss_of(z, w, one, [1, 1], sources)
    assert loss_of(z, y, one, [1, 1], sources) != loss_of(z, y, other, [1, 1], sources)


def test_equal_logits_leave_nothing_to_learn_from_sources() -> None:
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    loss = distillation_loss(z, torch.zeros(4).long(), z.expand(3, 4, 5), 3, Distillation(1.0, 4.0))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_half_precision_logits_are_compared_in_single_precision() -> None:
    draw = torch.Generator().manual_seed(0)
    z, source = (torch.randn(8, 10, generator=draw).bfloat16() for _ in range(2))
    y, settings_ = torch.arange(8), Distillation()
    half = distillation_loss(z, y, source[None], 1, settings_)
    assert half.dtype == torch.float32
    assert half == distillation_loss(z.float(), y, source.float()[None], 1, settings_)


@pytest.mark.parametrize("scale", ["sum", "mean"])
@pytest.mark.parametrize(
    ("loss", "factor"), [(DIST, 0.7 * 3**2), (LogitMSE, 0.7)], ids=["dist", "mse"]
)
def test_other_losses_take_the_place_of_kl(
    loss: type[DistillationLoss], factor: float, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """τ² scales losses that soften logits; λ, m and the label term are the same for all."""
    isolate(monkeypatch)
    register_loss(LogitMSE)
    draw = torch.Generator().manual_seed(0)
    z, teachers = torch.randn(4, 5, generator=draw), torch.randn(2, 4, 5, generator=draw)
    y = torch.arange(4)
    settings_ = Distillation(0.7, 3, scale, loss=get_loss(loss.name).spec)
    expected = 3 * 0.3 * torch.nn.functional.cross_entropy(z, y)
    expected = expected + factor * loss().divergence(z, teachers, 3.0)
    got = distillation_loss(z, y, teachers, 3, settings_)
    torch.testing.assert_close(got, expected / (3 if scale == "mean" else 1))


def test_a_loss_gets_the_values_of_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch)

    @register_loss
    class Scaled(LogitMSE):
        name, options = "scaled", ("mse-scale", "base")

        def divergence(
            self,
            student: torch.Tensor,
            teachers: torch.Tensor,
            temperature: float,
            mse_scale: float = 1.0,
            base: int = 0,
        ) -> torch.Tensor:
            return base + mse_scale * super().divergence(student, teachers, temperature)

    assert get_loss("scaled").options == ("mse_scale", "base")
    draw = torch.Generator().manual_seed(0)
    z, teachers = torch.randn(4, 5, generator=draw), torch.randn(1, 4, 5, generator=draw)
    spec = replace(get_loss("scaled").spec, options=(("base", 2), ("mse_scale", 0.5)))
    got = distillation_loss(z, torch.arange(4), teachers, 1, Distillation(1, loss=spec))
    torch.testing.assert_close(got, 2 + 0.5 * LogitMSE().divergence(z, teachers, 4.0))
    with pytest.raises(ValueError, match="options 'base': must be a sequence of names"):
        register_loss(type("Odd", (Scaled,), {"name": "odd", "options": "base"}))


def test_kl_is_to_the_last_bit_what_it_was_as_a_function() -> None:
    draw = torch.Generator().manual_seed(1)
    for tau in (1.0, 3.0, 4.0, 7.3):
        z, teachers = torch.randn(64, 10, generator=draw), torch.randn(3, 64, 10, generator=draw)
        y = torch.randint(10, (64,), generator=draw)
        log_student = torch.nn.functional.log_softmax(z / tau, dim=1)
        log_teachers = torch.nn.functional.log_softmax(teachers / tau, dim=2)
        divergence = (log_teachers.exp() * (log_teachers - log_student)).sum() / len(y)
        labels = torch.nn.functional.cross_entropy(z, y)
        expected = (3 * (1 - 0.9) * labels + 0.9 * tau**2 * divergence) / 3
        assert torch.equal(distillation_loss(z, y, teachers, 3, Distillation(0.9, tau)), expected)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    steps=st.integers(1, 200),
    sources=st.integers(1, 6),
    drop=st.floats(0, 0.99),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=50, deadline=None)
def test_every_mini_batch_keeps_a_source(steps: int, sources: int, drop: float, seed: int) -> None:
    mask = sample_teacher_mask(steps, sources, drop, generator(seed))
    assert mask.shape == (steps, sources)
    assert mask.dtype == torch.bool
    assert mask.any(dim=1).all()
    assert torch.equal(mask, sample_teacher_mask(steps, sources, drop, generator(seed)))


@pytest.mark.parametrize(
    ("sources", "drop"), [(1, 0.5), (2, 0.25), (2, 0.9), (3, 0.5), (5, 0.75), (4, 0.05)]
)
def test_survival_is_s_plus_the_share_of_rescues(sources: int, drop: float) -> None:
    steps = 40_000
    rates = sample_teacher_mask(steps, sources, drop, generator(7)).double().mean(dim=0)
    expected = (1 - drop) + drop**sources / sources
    error = math.sqrt(expected * (1 - expected) / steps)
    assert all(abs(rate - expected) <= 4 * error for rate in rates.tolist())


def test_the_rescued_source_is_drawn_uniformly() -> None:
    # with drop 0.999, one teacher is kept in nearly every row: 3 in 10,000 have a natural survivor
    steps = 30_000
    counts = sample_teacher_mask(steps, 3, 0.999, generator(1)).sum(dim=0).tolist()
    error = math.sqrt(steps * (1 / 3) * (2 / 3))
    assert all(abs(count - steps / 3) <= 4 * error + 0.001 * steps for count in counts)


def test_survivors_of_sources_are_independent() -> None:
    mask = sample_teacher_mask(40_000, 6, 0.5, generator(2)).double()
    correlation = torch.corrcoef(mask.T) - torch.eye(6)
    assert correlation.abs().max() < 0.03  # all drop in 1/64 of rows; six standard errors


def test_without_drop_all_survive() -> None:
    assert sample_teacher_mask(100, 4, 0.0, generator()).all()


def test_another_seed_drops_others() -> None:
    one, two = (sample_teacher_mask(100, 4, 0.5, generator(seed)) for seed in (0, 1))
    assert not torch.equal(one, two)
