"""Opening of image files with Pillow: safely, and without its warnings."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError, _imaging

from dgkd_search.data.formats import FORMATS
from dgkd_search.errors import InputError, one_line

MAX_REPORTED = 10  # damaged files that are named; others are counted
# Images of more pixels are decoded one at a time: each can occupy more than a gigabyte.
_LARGE = 2**25
_one_large = threading.Lock()
_UNLIMITED = contextlib.nullcontext()

# Without a handler, Python prints warnings of Pillow's logger to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def open_image(path: Path) -> Image.Image:
    """Open an image; its header is read, its pixels are decoded when they are used.

    Args:
        path: a regular file. Others are refused: opening a pipe would wait for a writer.

    Raises:
        Exception: the file cannot be read, or one of many errors of Pillow; see ``unreadable``.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    image = Image.open(path, formats=FORMATS)
    if image.format == "TIFF":
        # Pillow maps uncompressed TIFFs of a known name into memory, and scrambles turned ones.
        image.filename = ""
    return image


def room_for(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """Return a context in which an image is decoded.

    Large ones wait for each other, and raise ValueError instead of MemoryError.
    """
    large = image.width * image.height > _LARGE
    return _one_at_a_time(image) if large else _UNLIMITED


@contextlib.contextmanager
def _one_at_a_time(image: Image.Image) -> Iterator[None]:
    try:
        with _one_large:
            yield
    except MemoryError as error:
        size = f"{image.width:,} x {image.height:,}"
        raise ValueError(f"its {size} pixels need too much memory") from error


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error for a file that Pillow cannot read.

    Damaged files raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more.
    """
    reason = one_line(error)
    if isinstance(error, UnidentifiedImageError):  # its message would repeat the path
        reason = f"its content is in none of the formats {', '.join(FORMATS)}"
    return InputError(f"{path}: not a readable image ({reason}); replace or remove the file")


def raise_all(errors: list[InputError], total: int | None = None) -> None:
    """Raise the errors, if any, as one InputError: the first ten, and the number of the others.

    Args:
        errors: the errors, of one file each.
        total: number of damaged files, if ``errors`` are only the first ones.
    """
    messages = [message for error in errors for message in error.messages][:MAX_REPORTED]
    rest = (len(errors) if total is None else total) - len(messages)
    if rest > 0:
        messages.append(f"and {rest:,} more files that cannot be read")
    if messages:
        raise InputError(messages)


class _Quiet:
    """Hides Pillow's warnings as long as any thread reads images.

    The filters of ``warnings`` belong to the process. If every thread saved and restored them, the
    last one could restore what another one had set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        silence_libtiff()
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._filters.enter_context(warnings.catch_warnings())
                # By module: DecompressionBombWarning is no UserWarning, and later versions of
                # Pillow may have others. Damaged pixels raise an error.
                warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    self._filters.close()


quiet = _Quiet()


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff from printing errors on the terminal; Pillow raises them, too.

    Pillow silences libtiff's warnings but not its errors, and has no function for that. Where the
    library is linked statically, as on Windows, nothing changes.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
