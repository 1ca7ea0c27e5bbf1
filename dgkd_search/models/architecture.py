"""One network of a family, fully named."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Architecture:
    """One network, fully named.

    Attributes:
        family: registered family, for example ``resnet``.
        name: member of the family, for example ``resnet20``.
        classes: number of outputs, at least 2.
        channels: image channels (1 gray, 3 color).
        image_size: height and width of the square image in pixels, at least 8.
        origin: module that makes the family known; empty for those that are built in.
        code: checksum of the family's code; empty likewise.
    """

    family: str
    name: str
    classes: int
    channels: int
    image_size: int
    origin: str = ""
    code: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; of a family that is built in, its code isn't spoken of."""
        return {name: value for name, value in asdict(self).items() if value != ""}
