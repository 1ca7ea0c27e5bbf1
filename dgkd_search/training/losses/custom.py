"""Custom losses: calls that turn their failures into one-line errors that name the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dgkd_search.errors import InputError, StageFailed, one_line
from dgkd_search.training.losses.base import DistillationLoss
from dgkd_search.utils.option_values import OptionValues

_IMAGES = 4  # number of images in the trial call


def checked_divergence(
    loss: DistillationLoss,
    student: Tensor,
    teachers: Tensor,
    temperature: float,
    options: OptionValues = (),
) -> Tensor:
    """Return ``loss.divergence(...)``, checked if the loss is custom.

    Args:
        loss: the loss.
        student, teachers, temperature: see ``DistillationLoss.divergence``.
        options: values of the options that the loss takes.

    Raises:
        StageFailed: a custom loss raises, or returns no scalar.
    """
    values: dict[str, Any] = dict(options)
    if not loss.origin:
        return loss.divergence(student, teachers, temperature, **values)
    try:
        value = loss.divergence(student, teachers, temperature, **values)
    except torch.OutOfMemoryError:
        raise  # not the loss's fault
    except Exception as error:  # a user's method may raise anything
        raise StageFailed(
            f"{_label(loss)}: fails on student logits {list(student.shape)} and teacher logits "
            f"{list(teachers.shape)} ({one_line(error, 200, with_class=True)}); fix its method "
            "divergence"
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        actual = type(value).__name__
        if isinstance(value, Tensor):
            actual = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        raise StageFailed(
            f"{_label(loss)}: returns {actual}, not one float; sum over teachers and average over "
            "images"
        )
    return value


def validate_custom_loss(loss: DistillationLoss, classes: int, options: OptionValues = ()) -> None:
    """Call a custom loss on a few logits; do nothing for built-in losses.

    Args:
        loss: the loss.
        classes: number of classes of the dataset, at least 2.
        options: values of the options that the loss takes.

    Raises:
        InputError: the loss fails, returns no finite scalar, or gives no finite gradient.
    """
    if not loss.origin:
        return
    for count in (1, 2):
        student = torch.arange(_IMAGES * classes).sin().view(_IMAGES, classes)
        teachers = torch.arange(count * _IMAGES * classes).cos().view(count, _IMAGES, classes)
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            student.requires_grad_()
            try:
                value = checked_divergence(loss, student, 3 * teachers, 2.0, options)
            except StageFailed as error:
                raise InputError(str(error)) from error
            gradient = _gradient(loss, value, student)
        for what, tensor in (("returns", value.detach()), ("has the gradient", gradient)):
            if not bool(tensor.isfinite().all()):
                wrong = float(tensor[~tensor.isfinite()].flatten()[0])
                raise InputError(
                    f"{_label(loss)}: {what} {wrong} for finite logits; fix its method divergence"
                )


def _gradient(loss: DistillationLoss, value: Tensor, student: Tensor) -> Tensor:
    """Return the gradient with respect to the learner's logits.

    Raises:
        InputError: there is none.
    """
    try:
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, student, allow_unused=True)
            if gradient is not None:
                return gradient
    except Exception as error:  # from a custom autograd function
        raise InputError(
            f"{_label(loss)}: its gradient fails ({one_line(error, 200, with_class=True)}); fix "
            "its method divergence"
        ) from error
    raise InputError(
        f"{_label(loss)}: the learner gets no gradient; compute the divergence from student "
        "without detach, no_grad or item"
    )


def _label(loss: DistillationLoss) -> str:
    return f"loss {loss.name!r} of {loss.origin}"
