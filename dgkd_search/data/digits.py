"""The handwritten digits that scikit-learn includes: 1797 gray images of 8 × 8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from dgkd_search.data.decoding import resize
from dgkd_search.data.splits import draw_stratified
from dgkd_search.data.types import Images, Labels, Part, PartName
from dgkd_search.utils.hashing import sha256

# Constant, so that no split seed moves a test image into training.
_TEST_SEED = 20090808
_TEST_FRACTION = 0.2
_NATIVE_SIZE = 8
_DEEPEST = 16  # gray values of the library range from 0 to 16


class Digits:
    """scikit-learn's digits. A fixed stratified fifth is the test set, the rest is for training.

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
            raise ValueError("digits have no validation set of their own")
        train, _ = self._rows
        return resize(self._all[0][train[np.asarray(indices, np.int64)]], self.image_size)

    def test(self) -> Part:
        images, labels = self._all
        _, test = self._rows
        return Part(resize(images[test], self.image_size), labels[test])

    @cached_property
    def _all(self) -> tuple[Images, Labels]:
        pixels, labels = _read()
        images = np.rint(pixels * (255 / _DEEPEST)).astype(np.uint8)
        return images.reshape(-1, 1, _NATIVE_SIZE, _NATIVE_SIZE), labels.astype(np.int64)

    @cached_property
    def _rows(self) -> tuple[Labels, Labels]:
        """Row indices of the training set and of the test set."""
        labels = self._all[1]
        generator = np.random.Generator(np.random.PCG64(_TEST_SEED))
        test = draw_stratified(labels, round(_TEST_FRACTION * len(labels)), generator)
        return np.setdiff1d(np.arange(len(labels)), test), test


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Return pixels [N, 64] from 0 to 16, and labels [N]."""
    # Importing scikit-learn takes a second, so its file is read directly.
    library = find_spec("sklearn")
    for folder in (library.submodule_search_locations if library else None) or ():
        if (file := Path(folder, "datasets", "data", "digits.csv.gz")).exists():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits  # for versions that keep the file elsewhere

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels
