"""One network of a family, fully named."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from dgkd_search.data.config import MIN_IMAGE_SIZE
from dgkd_search.utils.rules import COUNT, Range


@dataclass(frozen=True)
class Architecture:
    """One network, fully named.

    Attributes:
        family: registered family, for example ``resnet``.
        name: member of the family, for example ``resnet20``.
        classes: number of outputs.
        channels: image channels (1 gray, 3 color).
        image_size: height and width of the square image in pixels.
        origin: module that makes the family known; empty for those that are built in.
        code: checksum of the family's code; empty likewise.
    """

    family: str
    name: str
    classes: Annotated[int, Range(2, whole=True)]
    channels: Annotated[int, COUNT]
    image_size: Annotated[int, Range(MIN_IMAGE_SIZE, whole=True)]
    origin: str = ""
    code: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; of a family that is built in, its code isn't spoken of."""
        return {name: value for name, value in asdict(self).items() if value != ""}
