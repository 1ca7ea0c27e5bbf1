"""Conversion of arrays of labels to class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_numbers(labels: NDArray[Any], count: int) -> tuple[NDArray[Any], str | None]:
    """Return one whole number for each image, and what was converted (None for nothing).

    Args:
        labels: integers, bools or floats that are whole numbers, [N] or [N, 1]; or one-hot rows
            [N, K].
        count: number of images, at least 1.

    Returns:
        Integers [N] of any sign and width.

    Raises:
        ValueError: the labels have another shape or type; the message continues "the labels".
    """
    wrong = ValueError(f"are {labels.dtype} {labels.shape}; give integers [{count}]")
    if labels.dtype.kind in "US":
        raise ValueError(
            f"are texts; give integers [{count}], for example by "
            "classes, labels = numpy.unique(labels, return_inverse=True)"
        )
    if labels.dtype.kind not in "iubf" or labels.shape[:1] != (count,):
        raise wrong
    if labels.ndim == 2 and labels.shape[1] == 1:  # as MedMNIST's
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _from_one_hot(labels), f"labels are one-hot: read as {labels.shape[1]} classes"
    if labels.ndim != 1:
        raise wrong
    if labels.dtype.kind == "b":
        return labels.astype(np.int64), "labels are bool: False was read as 0, True as 1"
    if labels.dtype.kind != "f":
        return labels, None
    exact = labels.astype(np.float64)
    whole = (exact == np.rint(exact)) & (np.abs(exact) < 2**31)  # false for NaN
    if not whole.all():
        value = labels[int(np.argmin(whole))]
        raise ValueError(f"are {labels.dtype} and contain {value}; give integers [{count}]")
    return exact.astype(np.int64), f"labels are {labels.dtype.name}: read as whole numbers"


def _from_one_hot(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the column of the 1 in each row.

    Raises:
        ValueError: a row has no 1, several, or other values than 0 and 1.
    """
    count, columns = rows.shape
    if not ((rows == 0) | (rows == 1)).all():
        raise ValueError(f"are {rows.dtype} {rows.shape}; give integers [{count}], one per image")
    ones = (rows == 1).sum(axis=1)
    if (ones != 1).any():
        several, none = int((ones > 1).sum()), int((ones == 0).sum())
        raise ValueError(
            f"are multi-label [N, {columns}]: {several} images have several classes, {none} none; "
            f"give one class per image, integers [{count}]"
        )
    columns_of_ones: NDArray[Any] = np.argmax(rows == 1, axis=1)
    return columns_of_ones


def begin_at_one(labels: NDArray[Any]) -> bool:
    """Return whether labels are counted from 1: each of 1..K occurs, K is at least 2, and no 0."""
    present = np.unique(labels)
    return len(present) > 1 and bool((present == np.arange(1, len(present) + 1)).all())
