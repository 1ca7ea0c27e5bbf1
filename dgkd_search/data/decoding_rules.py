"""The rules by which image files become pixels, with their number."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dgkd_search.data.config import WHITE, Rgb

# Increase when the same file gives other pixels, and describe the change in ``_CHANGES``. The
# number is part of the name of prepared data and, for streamed data, of their fingerprint.
DECODING_RULES = 2
FIRST_RULES = 1  # of versions that stored no number
_CHANGES = {
    2: (
        "EXIF orientation is applied, transparent images are laid on a background, and images "
        "of more than 8 bits are scaled by the range that the data use"
    )
}
FULL_16_BITS = (0, 2**16 - 1)


@dataclass(frozen=True)
class Decoding:
    """How image files become pixels; see docs/data.md.

    Attributes:
        rules: number of the rules.
        background: color behind transparent pixels, each channel in 0..255.
        values: least and greatest value of images of more than 8 bits, which become 0 and 255; a
            power of two of values, at least 256. None if no such image was met.
    """

    rules: int = DECODING_RULES
    background: Rgb = WHITE
    values: tuple[int, int] | None = None

    def key(self) -> list[object]:
        """Return what distinguishes it from the first rules; ``values`` follow from the files."""
        if self.rules == FIRST_RULES:
            return []
        colored = [list(self.background)] if self.background != WHITE else []
        return [["decoding", self.rules, *colored]]

    def with_range(self) -> Decoding:
        """Return a copy that decodes images of more than 8 bits even if none was met: as 16."""
        return self if self.values is not None else replace(self, values=FULL_16_BITS)

    def note(self) -> str | None:
        """Describe the scale of images of more than 8 bits, or None if it isn't known."""
        if self.values is None:
            return None
        low, high = self.values
        bits = (high - low).bit_length()
        return f"images of more than 8 bits hold {bits}-bit values: {low}..{high} becomes 0..255"


def changes_since(rules: int) -> str:
    """Describe what has changed after these rules."""
    return "; ".join(text for number, text in _CHANGES.items() if number > rules)
