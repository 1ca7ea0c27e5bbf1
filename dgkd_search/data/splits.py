"""Stratified splits into training and validation images, determined by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dgkd_search.data.config import DataConfig
from dgkd_search.data.types import Dataset, Labels, PartName
from dgkd_search.errors import InputError

_SHOWN = 20  # classes that a message about too few images names


@dataclass(frozen=True)
class SplitRows:
    """Row indices of both parts.

    Attributes:
        train: int64, ascending row indices into the dataset's training set.
        validation: int64, ascending row indices into the dataset's own validation set if it has
            one, else into its training set (then disjoint from ``train``).
    """

    train: Labels
    validation: Labels


@dataclass(frozen=True)
class Split:
    """The images of both parts, as rows of the dataset's own parts.

    Attributes:
        rows: row indices into the dataset's training set and into its part ``validation_in``.
        train_labels, validation_labels: int64, in the order of the rows.
        validation_in: the part of the dataset that the validation rows refer to.
        merged: whether the validation images are trained on too.
    """

    rows: SplitRows
    train_labels: Labels
    validation_labels: Labels
    validation_in: PartName
    merged: bool = False

    @property
    def training(self) -> list[tuple[PartName, Labels]]:
        """The images to train on, as parts of the dataset and row indices into them."""
        own: list[tuple[PartName, Labels]] = [("train", self.rows.train)]
        return own + ([(self.validation_in, self.rows.validation)] if self.merged else [])

    @property
    def training_labels(self) -> Labels:
        parts = [self.train_labels, *([self.validation_labels] if self.merged else [])]
        return np.concatenate(parts)


def choose_split(dataset: Dataset, config: DataConfig) -> Split:
    """Split ``dataset`` as ``config`` says; see ``plan_rows``.

    Raises:
        InputError: a class has too few images, or the limit is out of range.
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
    """Split a dataset into training and validation rows.

    The validation set is the dataset's own, or else ``fraction`` of the training images. With a
    limit of N training images it has at most N // 2 images, so that validation does not dominate a
    small study.

    Args:
        labels, own_validation: int64 [N], each in [0, len(classes)); ``own_validation`` is None if
            the dataset has no validation set.
        classes: class names by label.
        fraction: in (0, 0.5].
        limit: number of training images, or None for all.
        seed: at least 0.

    Raises:
        InputError: a class has too few images, or the limit is out of range.
    """
    _check_classes(labels, own_validation, classes)
    if own_validation is None:
        wanted = max(round(fraction * len(labels)), len(classes))
        available = len(labels) - wanted
        apart = f" after {wanted} are set aside for validation"
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
    """Return disjoint rows for training and validation, both stratified and ascending.

    The rows depend only on the arguments. A smaller validation set is drawn from the same
    permutation of images as a larger one.

    Args:
        labels: int64 [N], at least two of every class.
        validation: number of validation images.
        limit: number of training images, drawn from the remaining images; None for all of them.
        seed: at least 0.

    Returns:
        int64 training rows and validation rows.
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
    """Draw ``count`` rows, with every class in proportion to its size; ascending.

    Each class gets its proportional share, rounded, but at least one image. The extra images of
    small classes are taken from the classes that most exceed their share.

    Args:
        labels: int64 [N].
        count: from the number of classes to N minus ``spare`` images per class.
        generator: the source of randomness; it advances.
        spare: number of images of every class that are never drawn.

    Raises:
        ValueError: ``count`` is outside that range.
    """
    present, sizes = np.unique(labels, return_counts=True)
    shares = _allocate(sizes, count, spare)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:share]
        for label, share in zip(present, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _allocate(sizes: Labels, count: int, spare: int) -> Labels:
    """Divide ``count`` among classes by largest remainders, within [1, size - spare] each."""
    most = sizes - spare
    if not (most >= 1).all() or not len(sizes) <= count <= most.sum():
        raise ValueError(f"cannot draw {count} images from classes of {sizes.tolist()}")
    exact = sizes * (count / sizes.sum())
    shares: Labels = np.clip(np.floor(exact).astype(np.int64), 1, most)
    while (missing := count - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = shares < most if step > 0 else shares > 1
        need = np.where(movable, step * (exact - shares), -np.inf)
        shares[int(np.argmax(need))] += step  # ties go to the first class
    return shares


def _generator(seed: int) -> np.random.Generator:
    # Explicit, as NumPy may change its default generator.
    return np.random.Generator(np.random.PCG64(seed))


def _check_classes(labels: Labels, own_validation: Labels | None, classes: Sequence[str]) -> None:
    needed = 2 if own_validation is None else 1
    sizes = np.bincount(labels, minlength=len(classes))
    problems = [
        f"class {name!r}: has {size} training image{'' if size == 1 else 's'} but needs at least "
        f"{needed}{', one for validation' if needed == 2 else ''}; add images or remove the class"
        for name, size in zip(classes, sizes.tolist(), strict=True)
        if size < needed
    ]
    if len(problems) > _SHOWN:
        more = len(problems) - _SHOWN
        problems[_SHOWN:] = [f"{more} more classes have too few training images"]
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
