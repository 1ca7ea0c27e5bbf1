"""The complete description of one network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from dgkd_search.data.config import MIN_IMAGE_SIZE
from dgkd_search.utils.rules import Range


@dataclass(frozen=True)
class Architecture:
    """The complete description of one network.

    Attributes:
        family: a registered family, for example ``resnet``.
        name: a member of the family, for example ``resnet20``.
        classes: number of outputs.
        channels: image channels (1 gray, 3 color).
        image_size: height and width of the square image in pixels.
        origin: module that registers the family; empty for built-in families.
        code: checksum of the family's code; empty for built-in families.
        start: checksum of the weights that the network's constructor loads; empty if it draws all
            of them, and for built-in families.
    """

    family: str
    name: str
    classes: Annotated[int, Range(2, 2**20, whole=True)]
    channels: Annotated[int, Range(1, 2**10, whole=True)]
    image_size: Annotated[int, Range(MIN_IMAGE_SIZE, 2**14, whole=True)]
    origin: str = ""
    code: str = ""
    start: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types, without empty ``origin``, ``code`` and ``start``."""
        return {name: value for name, value in asdict(self).items() if value != ""}
