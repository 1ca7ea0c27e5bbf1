"""Labels of any type become whole numbers, or are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dgkd_search.data.array_labels import begin_at_one, class_numbers

LABELS = np.array([2, 0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (LABELS, None),
        (LABELS[:, None], None),
        (LABELS.astype(">u2"), None),
        (LABELS.astype(np.float16), "labels are float16: read as whole numbers"),
        (np.eye(3)[LABELS], "labels are one-hot: read as 3 classes"),
        (np.eye(3, dtype=bool)[LABELS], "labels are one-hot: read as 3 classes"),
    ],
)
def test_labels_in_other_forms(labels: np.ndarray, note: str | None) -> None:
    numbers, said = class_numbers(labels, 4)
    assert numbers.tolist() == LABELS.tolist() and numbers.dtype.kind in "iu"
    assert said == note


def test_bools_are_two_classes() -> None:
    numbers, note = class_numbers(LABELS > 0, 4)
    assert numbers.tolist() == [1, 0, 1, 1] and note is not None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:3], r"are int64 \(3,\); give integers \[4\]"),
        (np.array(0), r"are int64 \(\); give integers \[4\]"),
        (LABELS + 0.25, "are float64 and contain 2.25"),
        (np.array([0, 1, np.nan, 1]), "are float64 and contain nan"),
        (np.array([0, 1, 1e300, 1]), r"are float64 and contain 1e\+300"),
        (np.array(list("abca")), "are texts"),
        (LABELS.astype(object), "are object"),
        (LABELS.astype(complex), "are complex128"),
        (np.eye(3)[LABELS] / 2, r"are float64 \(4, 3\)"),
        (np.ones((4, 3), int), r"multi-label \[N, 3\]: 4 images have several classes, 0 none"),
        (np.eye(3)[LABELS] * [1, 0, 1], "0 images have several classes, 1 none"),
        (np.zeros((4, 0)), r"are float64 \(4, 0\)"),
        (np.eye(3)[LABELS][..., None], r"are float64 \(4, 3, 1\)"),
    ],
)
def test_what_names_no_class_is_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_numbers(labels, 4)


def test_labels_from_one() -> None:
    assert begin_at_one(LABELS + 1)
    assert begin_at_one((LABELS + 1).astype(np.uint64))
    for others in (LABELS, LABELS + 2, LABELS * 2 + 1, np.ones(4, int)):
        assert not begin_at_one(others)
