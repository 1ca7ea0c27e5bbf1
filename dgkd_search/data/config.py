"""The user's settings of the data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from dgkd_search.utils.rules import OneOf, Range

IMAGES = ("auto", "memory", "stream")
AUGMENTS = ("none", "crop", "flip", "crop+flip", "resized-crop", "resized-crop+flip")
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]  # by channel, of pixels in [0, 1]
# As published with pretrained networks: torchvision's for ImageNet, the usual ones for CIFAR.
KNOWN_STATISTICS: dict[str, MeanStd] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
NORMALIZATIONS = ("train", *KNOWN_STATISTICS)
MIN_IMAGE_SIZE = 8  # below it, views cannot be shifted by an eighth
IMAGE_SIZE = Range(MIN_IMAGE_SIZE, 1024, whole=True)
SEED = Range(0, whole=True)
VALIDATION = Range(0, 0.5, open_low=True)
Rgb = tuple[int, int, int]  # each in 0..255
WHITE: Rgb = (255, 255, 255)
_NAMED_COLORS = {"white": WHITE, "black": (0, 0, 0)}


@dataclass(frozen=True)
class Color:
    """A color: ``white``, ``black`` or ``#rrggbb``; when called, it parses an option."""

    def check(self, value: object) -> None:
        self.rgb(value)

    def __call__(self, value: object) -> str:
        """Return the color in one spelling: equal colors are equal texts."""
        rgb = self.rgb(value)
        names = {known: name for name, known in _NAMED_COLORS.items()}
        return names.get(rgb, "#{:02x}{:02x}{:02x}".format(*rgb))

    def rgb(self, value: object) -> Rgb:
        """Return red, green and blue of a color.

        Raises:
            ValueError: the value is no color.
        """
        text = value.lower() if isinstance(value, str) else ""
        if text in _NAMED_COLORS:
            return _NAMED_COLORS[text]
        # In a YAML file, an unquoted # would begin a comment.
        if (digits := re.fullmatch("#?([0-9a-f]{6})", text)) is None:
            raise ValueError("must be white, black or #rrggbb (six hexadecimal digits)")
        red, green, blue = bytes.fromhex(digits[1])
        return red, green, blue


COLOR = Color()


@dataclass(frozen=True)
class DataConfig:
    """The dataset, its split and its normalization.

    Attributes:
        dataset: name of a ``DatasetKind``.
        data_dir: folder or file of the data; None for datasets that need none.
        image_size: height and width in pixels; None for the dataset's own size (folders: 32).
        train_limit: number of training images, a stratified subset; None for all.
        split_seed: seed of the validation split and of the subset.
        images: ``memory`` decodes all images beforehand, ``stream`` decodes them from a folder
            during training, ``auto`` streams folders that are too large for memory.
        normalize: ``train`` for mean and standard deviation of the training set, or the name of a
            dataset for its published values, which pretrained networks expect.
        merged: whether to train on the validation images too, once no choice depends on them.
            Validation accuracy then measures the fit.
        validation: share of the training images to validate on, if the dataset has no validation
            part of its own; None for the dataset's default.
        background: color behind transparent pixels of image files.
    """

    dataset: str
    data_dir: str | None = None
    image_size: Annotated[int | None, IMAGE_SIZE] = None
    train_limit: int | None = None
    split_seed: Annotated[int, SEED] = 0
    images: Annotated[str, OneOf(IMAGES)] = "auto"
    normalize: Annotated[str, OneOf(NORMALIZATIONS)] = "train"
    merged: bool = False
    validation: Annotated[float | None, VALIDATION] = None
    background: Annotated[str, COLOR] = "white"
