"""scikit-learn's handwritten digits: 1797 grey images of 8 × 8 pixels, part of the library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from dgkd_search.data.images import resize
from dgkd_search.data.source import Images, Labels, Part, PartName
from dgkd_search.data.splits import draw
from dgkd_search.files import sha256

# Constant, so that no split seed ever moves a test image into training.
_TEST_SEED = 20090808
_TEST_FRACTION = 0.2
_NATIVE_SIZE = 8
_DEEPEST = 16  # the library's grey values run from 0 to 16


class Digits:
    """A fixed stratified fifth is the test set; the rest is the training part.

    Args:
        image_size: height and width in pixels, or None for 8.
    """

    classes = tuple(str(digit) for digit in range(10))
    channels = 1
    validation_fraction = 0.2
    has_test = True

    def __init__(self, image_size: int | None = None) -> None:
        self.image_size = image_size or _NATIVE_SIZE

    def identity(self) -> str:
        images, labels = self._all
        return sha256(images.tobytes() + labels.astype("<i8").tobytes())

    def labels(self) -> tuple[Labels, None]:
        train, _ = self._rows
        return self._all[1][train], None

    def read(self, part: PartName, indices: Sequence[int] | Labels) -> Images:
        if part != "train":
            raise ValueError("digits have no validation part of their own")
        train, _ = self._rows
        return resize(self._all[0][train[np.asarray(indices, np.int64)]], self.image_size)

    def test(self) -> Part:
        images, labels = self._all
        _, test = self._rows
        return Part(resize(images[test], self.image_size), labels[test])

    @cached_property
    def _all(self) -> tuple[Images, Labels]:
        from sklearn.datasets import load_digits  # slow to import

        digits = load_digits()
        images = np.rint(digits.images * (255 / _DEEPEST)).astype(np.uint8)
        return images[:, None], digits.target.astype(np.int64)

    @cached_property
    def _rows(self) -> tuple[Labels, Labels]:
        """Rows of the training part and of the test set."""
        labels = self._all[1]
        generator = np.random.Generator(np.random.PCG64(_TEST_SEED))
        test = draw(labels, round(_TEST_FRACTION * len(labels)), generator)
        return np.setdiff1d(np.arange(len(labels)), test), test
