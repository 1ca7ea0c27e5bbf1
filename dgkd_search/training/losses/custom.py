"""Losses of a user's own: what they do wrong is an error in one line that names them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dgkd_search.errors import InputError, StageFailed, one_line
from dgkd_search.training.losses.base import DistillationLoss
from dgkd_search.utils.option_values import OptionValues

_IMAGES = 4  # that a loss is tried on


def checked_divergence(
    loss: DistillationLoss,
    student: Tensor,
    teachers: Tensor,
    temperature: float,
    options: OptionValues = (),
) -> Tensor:
    """``loss.divergence``; built-in losses are known to keep its contract.

    Args:
        options: values of those that the loss takes.

    Raises:
        StageFailed: a user's own raises, or gives no scalar.
    """
    values: dict[str, Any] = dict(options)  # arguments that a loss with options has beside others
    if not loss.origin:
        return loss.divergence(student, teachers, temperature, **values)
    try:
        value = loss.divergence(student, teachers, temperature, **values)
    except torch.OutOfMemoryError:
        raise  # which says nothing about the loss
    except Exception as error:  # whatever a user's method raises
        raise StageFailed(
            f"{_label(loss)}: fails on logits {list(student.shape)} of {len(teachers)} teachers' "
            f"{list(teachers.shape)} ({one_line(error, 200, with_class=True)}); mend its method "
            "divergence"
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        actual = type(value).__name__
        if isinstance(value, Tensor):
            actual = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        raise StageFailed(
            f"{_label(loss)}: gives {actual}, not one float; sum over teachers and take the mean "
            "over images"
        )
    return value


def validate_custom_loss(loss: DistillationLoss, classes: int, options: OptionValues = ()) -> None:
    """Give a user's own loss a few logits; those that are built in are known to work.

    Args:
        classes: of the data, at least 2.
        options: values of those that the loss takes.

    Raises:
        InputError: it fails, gives no scalar or nothing finite, or the learner gets no gradient.
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
        for what, tensor in (("gives", value.detach()), ("has the gradient", gradient)):
            if not bool(tensor.isfinite().all()):
                wrong = float(tensor[~tensor.isfinite()].flatten()[0])
                raise InputError(
                    f"{_label(loss)}: {what} {wrong} for finite logits; mend its method divergence"
                )


def _gradient(loss: DistillationLoss, value: Tensor, student: Tensor) -> Tensor:
    """Towards the learner's logits.

    Raises:
        InputError: there is none.
    """
    try:
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, student, allow_unused=True)
            if gradient is not None:
                return gradient
    except Exception as error:  # of a user's own autograd function
        raise InputError(
            f"{_label(loss)}: its gradient fails ({one_line(error, 200, with_class=True)}); mend "
            "its method divergence"
        ) from error
    raise InputError(
        f"{_label(loss)}: the learner gets no gradient; compute it from student, without detach, "
        "no_grad and item"
    )


def _label(loss: DistillationLoss) -> str:
    return f"loss {loss.name!r} of {loss.origin}"
