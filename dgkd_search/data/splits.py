"""Which images train and which validate: stratified and decided by a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dgkd_search.data.config import DataConfig
from dgkd_search.data.types import Dataset, Labels, PartName
from dgkd_search.errors import InputError


@dataclass(frozen=True)
class SplitRows:
    """Rows of the training part, and of the validation part.

    Attributes:
        train: int64, ascending rows of the dataset's training part.
        validation: int64, ascending rows of the dataset's own validation part where it has one,
            else of its training part, and then none that is in ``train``.
    """

    train: Labels
    validation: Labels


@dataclass(frozen=True)
class Split:
    """The images of both parts, and where they are.

    Attributes:
        rows: of the dataset's training part, and of its part ``validation_in``.
        train_labels, validation_labels: int64, in the rows' order.
        merged: whether the validation part is trained on too.
    """

    rows: SplitRows
    train_labels: Labels
    validation_labels: Labels
    validation_in: PartName
    merged: bool = False

    @property
    def training(self) -> list[tuple[PartName, Labels]]:
        """What is trained on, as parts of the dataset and rows in them."""
        own: list[tuple[PartName, Labels]] = [("train", self.rows.train)]
        return own + ([(self.validation_in, self.rows.validation)] if self.merged else [])

    @property
    def training_labels(self) -> Labels:
        parts = [self.train_labels, *([self.validation_labels] if self.merged else [])]
        return np.concatenate(parts)


def choose_split(dataset: Dataset, config: DataConfig) -> Split:
    """``plan_rows`` for a dataset.

    Raises:
        InputError: if a class has too few images, or the limit is out of range.
    """
    labels, own = dataset.labels()
    rows = plan_rows(
        labels,
        own,
        dataset.classes,
        fraction=config.validation or dataset.validation_fraction,
        limit=config.train_limit,
        seed=config.split_seed,
    )
    if own is None:
        return Split(rows, labels[rows.train], labels[rows.validation], "train", config.merged)
    return Split(rows, labels[rows.train], own[rows.validation], "val", config.merged)


def plan_rows(
    labels: Labels,
    own_validation: Labels | None,
    classes: Sequence[str],
    *,
    fraction: float,
    limit: int | None,
    seed: int,
) -> SplitRows:
    """Split a dataset.

    Validation is the dataset's own part or else ``fraction`` of the training images. Under a limit
    of N training images it has at most N // 2, so that a small study is not all validation.

    Args:
        labels, own_validation: int64 [N], in [0, len(classes)).
        fraction: in (0, 0.5].
        limit: number of training images wanted, or None for all.

    Raises:
        InputError: if a class has too few images, or the limit is out of range.
    """
    _check_classes(labels, own_validation, classes)
    if own_validation is None:
        wanted = max(round(fraction * len(labels)), len(classes))
        available = len(labels) - wanted
        apart = f" once {wanted} are set apart for validation"
    else:
        wanted, available, apart = len(own_validation), len(labels), ""
    if limit is not None:
        _check_limit(limit, len(classes), available, apart)
        wanted = min(wanted, limit // 2)
    if own_validation is None:
        return SplitRows(*split(labels, wanted, limit, seed))
    generator = _generator(seed)
    validation = draw_stratified(own_validation, wanted, generator)
    return SplitRows(
        draw_stratified(labels, len(labels) if limit is None else limit, generator), validation
    )


def split(labels: Labels, validation: int, limit: int | None, seed: int) -> tuple[Labels, Labels]:
    """Disjoint rows for training and validation, both stratified and ascending.

    The rows depend on the arguments alone. A smaller validation part is drawn from the same order
    of images as a larger one.

    Args:
        labels: int64 [N], at least two of every class.
        validation: number of images.
        limit: number of training images, drawn from what validation leaves; None takes the rest.
        seed: at least 0.

    Returns:
        int64 rows: training, validation.
    """
    generator = _generator(seed)
    validating = draw_stratified(labels, validation, generator, spare=1)
    rest = np.setdiff1d(np.arange(len(labels)), validating, assume_unique=True)
    if limit is None:
        return rest, validating
    return rest[draw_stratified(labels[rest], limit, generator)], validating


def draw_stratified(
    labels: Labels, count: int, generator: np.random.Generator, *, spare: int = 0
) -> Labels:
    """``count`` rows, each class in proportion (within one image) and at least once; ascending.

    Where classes are too small for their proportion to round to one image, they still get one, at
    the cost of the classes that are most over theirs.

    Args:
        labels: int64 [N].
        count: from the number of classes present to N less ``spare`` a class.
        spare: images that every class keeps back.

    Raises:
        ValueError: if ``count`` is outside that range.
    """
    present, sizes = np.unique(labels, return_counts=True)
    shares = _allocate(sizes, count, spare)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:share]
        for label, share in zip(present, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _allocate(sizes: Labels, count: int, spare: int) -> Labels:
    """How many of ``count`` images each class gives: largest remainders, within [1, size-spare]."""
    most = sizes - spare
    if not (most >= 1).all() or not len(sizes) <= count <= most.sum():
        raise ValueError(f"cannot draw {count} images from classes of {sizes.tolist()}")
    exact = sizes * (count / sizes.sum())
    shares: Labels = np.clip(np.floor(exact).astype(np.int64), 1, most)
    while (missing := count - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = shares < most if step > 0 else shares > 1
        need = np.where(movable, step * (exact - shares), -np.inf)
        shares[int(np.argmax(need))] += step  # the first of equals, so that ties are settled
    return shares


def _generator(seed: int) -> np.random.Generator:
    # Named rather than numpy's default, which another version may change.
    return np.random.Generator(np.random.PCG64(seed))


def _check_classes(labels: Labels, own_validation: Labels | None, classes: Sequence[str]) -> None:
    needed = 2 if own_validation is None else 1
    sizes = np.bincount(labels, minlength=len(classes))
    problems = [
        f"class {name!r}: has {size} training image{'' if size == 1 else 's'} but needs at least "
        f"{needed}{', one to validate on' if needed == 2 else ''}; add images or remove the class"
        for name, size in zip(classes, sizes.tolist(), strict=True)
        if size < needed
    ]
    if problems:
        raise InputError(problems)


def _check_limit(limit: int, classes: int, available: int, apart: str) -> None:
    if limit < 2 * classes:
        raise InputError(
            f"train-limit {limit}: must be at least {2 * classes}, two images for each of "
            f"{classes} classes"
        )
    if limit > available:
        raise InputError(
            f"train-limit {limit}: there are {available} training images{apart}; "
            f"give at most {available} or leave it out"
        )
