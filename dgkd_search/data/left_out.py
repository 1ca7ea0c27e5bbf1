"""Counts of what a listing of images leaves out, and the lines that say so."""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum
from pathlib import Path

# Suffixes of images that no decoder here reads. Others, such as .txt, need no explanation.
_UNDECODED = {
    *(".heic", ".heif", ".hif", ".avif", ".avifs", ".webp", ".jp2", ".j2k", ".jxl", ".jxr"),
    *(".svg", ".wmf", ".eps", ".pdf", ".psd", ".xcf", ".tga", ".ico", ".icns", ".dds", ".pcx"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    *(".exr", ".hdr", ".dcm", ".nii", ".npy", ".sgi", ".mpo", ".bpg"),
}
_SUFFIX = re.compile(r"\.[\w+~-]{1,12}")  # others are no suffixes, but parts of long names
_SHOWN = 8


class Reason(Enum):
    """Why something is left out: a noun for one of its kind, and for several."""

    HIDDEN = ("hidden file or folder", "hidden files or folders")
    SYSTEM = ("folder of an operating system", "folders of an operating system")
    SPECIAL = ("FIFO, socket or device", "FIFOs, sockets or devices")
    LINK_BACK = (
        "link back to a listed folder or above it",
        "links back to listed folders or above them",
    )
    REPEATED = ("further link to a listed image", "further links to listed images")
    LONG_NAME = ("file of no known suffix", "files of no known suffixes")
    NO_SUFFIX = ("file without a suffix", "files without a suffix")


class LeftOut:
    """What a listing leaves out, counted by suffix or reason, with an example of each reason.

    Args:
        root: the folder that paths in lines are relative to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._suffixes: Counter[str] = Counter()
        self._reasons: Counter[Reason] = Counter()
        self._examples: dict[Reason, Path] = {}
        self._strays: Counter[Path] = Counter()  # by folder
        self._stray_examples: dict[Path, Path] = {}

    def add(self, reason: Reason, path: Path) -> None:
        self._reasons[reason] += 1
        self._examples.setdefault(reason, path)

    def add_unread(self, path: Path) -> None:
        """Count a file whose suffix is not that of an image that can be read."""
        suffix = path.suffix.lower()
        if not suffix:
            self.add(Reason.NO_SUFFIX, path)
        elif _SUFFIX.fullmatch(suffix):
            self._suffixes[suffix] += 1
        else:
            self.add(Reason.LONG_NAME, path)

    def add_stray(self, path: Path) -> None:
        """Count an image that is in no class."""
        self._strays[path.parent] += 1
        self._stray_examples.setdefault(path.parent, path)

    def strays(self, folder: Path) -> int:
        """Return the number of images directly in ``folder``, outside its classes."""
        return self._strays[folder]

    def lines(self) -> list[str]:
        """Return one line for images outside classes in each folder, and one for all the rest."""
        lines = [
            f"{_images(count)} directly in {folder.name}/, outside any class (for "
            f"example {self._relative(self._stray_examples[folder])}) and not used; move images "
            "into class folders"
            for folder, count in sorted(self._strays.items())
        ]
        return [*lines, *([f"left out: {summary}"] if (summary := self.summary()) else [])]

    def summary(self) -> str:
        """Return all counts but those of images outside classes, or an empty text."""
        ranked = sorted(self._suffixes.items(), key=lambda item: (-item[1], item[0]))
        parts = [
            f"{count:,} {suffix}{' (no decoder)' if suffix in _UNDECODED else ''}"
            for suffix, count in ranked[:_SHOWN]
        ]
        if others := ranked[_SHOWN:]:
            files = sum(count for _, count in others)
            parts.append(f"{files:,} with {len(others)} other suffixes")
        parts += [
            f"{count:,} {reason.value[count > 1]} ({self._relative(self._examples[reason])})"
            for reason, count in self._reasons.items()
        ]
        return ", ".join(parts)

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self._root)


def _images(count: int) -> str:
    return f"{count:,} image is" if count == 1 else f"{count:,} images are"
