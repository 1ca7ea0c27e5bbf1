"""What a user may say of the data, as values."""

from __future__ import annotations

from dataclasses import dataclass

IMAGES = ("auto", "memory", "stream")
AUGMENTS = ("none", "crop", "flip", "crop+flip", "resized-crop", "resized-crop+flip")
NORMALIZATIONS = ("train", "imagenet", "cifar10", "cifar100")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split.

    Attributes:
        dataset: name of a ``DatasetKind``.
        data_dir: folder of the files; not needed for digits.
        image_size: height and width in pixels; None keeps the dataset's own (folders: 32).
        train_limit: number of training images, a stratified subset; None takes all.
        split_seed: seed of the validation split and of the subset.
        images: one of ``IMAGES``: decoded beforehand into arrays that lie in memory, or streamed
            from the files of a folder; ``auto`` streams folders that are too large.
        normalize: one of ``NORMALIZATIONS``: by mean and deviation of the training part, or by the
            known ones of a dataset, as networks that were trained elsewhere expect.
        merged: whether the validation images are trained on too, as nothing is chosen by them any
            more; the validation part then says how well they are fitted.
    """

    dataset: str
    data_dir: str | None = None
    image_size: int | None = None
    train_limit: int | None = None
    split_seed: int = 0
    images: str = "auto"
    normalize: str = "train"
    merged: bool = False
