"""The image formats that are read, and the suffixes of their files."""

from __future__ import annotations

from functools import cache

# Decoders of Pillow that run inside this process. Others start programs (EPS: Ghostscript) or read
# formats in which nobody keeps images for training, so each would be a risk for nothing.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "DIB", "JPEG2000", "PPM")


@cache
def readable_suffixes() -> frozenset[str]:
    """Return the lower-case suffixes of ``FORMATS`` that this installation of Pillow can decode.

    AVIF, JPEG 2000 and WebP need libraries that a build of Pillow may lack.
    """
    from PIL import Image  # slow to import

    suffixes = Image.registered_extensions()  # loads all plugins
    return frozenset(s for s, name in suffixes.items() if name in FORMATS and name in Image.OPEN)
