"""The images below the class folders of one part; what is left out is counted."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from dgkd_search.data.formats import readable_suffixes
from dgkd_search.data.left_out import LeftOut, Reason
from dgkd_search.errors import InputError

# Folders that operating systems and their archives add, some with thumbnails of the images.
_SYSTEM = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information"))
FileId = tuple[int, int]  # device and inode: the same for every path that leads to a file


class Entry(NamedTuple):
    """A file or folder; a link stands for what it leads to."""

    path: Path
    is_link: bool
    id: FileId


@dataclass(frozen=True)
class Entries:
    """What is not left out of one folder, in alphabetical order.

    Attributes:
        folders, images: what links lead to is included.
        broken: links that cannot be followed, each with a message.
    """

    folders: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ClassFolders:
    """A folder of class folders.

    Attributes:
        path: the folder.
        classes: the folders of each class, by its name in NFC; several if their names differ only
            in their Unicode form. In alphabetical order of the names.
        problems: messages about links.
    """

    path: Path
    classes: dict[str, list[Entry]]
    problems: list[str]

    def entries(self) -> list[Entry]:
        return [entry for entries in self.classes.values() for entry in entries]


@dataclass(frozen=True)
class Images:
    """The images of one part.

    Attributes:
        by_class: for each class its images at any depth, in the order of their paths.
        problems: messages about links that cannot be followed.
        notes: lines about images that are in several classes.
    """

    by_class: list[list[Path]]
    problems: list[str]
    notes: list[str]


def open_classes(path: Path, left_out: LeftOut) -> ClassFolders:
    """Read the class names of a folder; images outside class folders are counted as strays.

    Raises:
        InputError: the folder cannot be listed.
    """
    entries = scan(path, left_out)
    for stray in entries.images:
        left_out.add_stray(stray.path)
    groups: dict[str, list[Entry]] = {}
    first: dict[FileId, str] = {folder.id: "" for folder in _above(path)}
    problems = [message for _, message in entries.broken]
    for entry in entries.folders:
        name = unicodedata.normalize("NFC", entry.path.name)
        owner = first.setdefault(entry.id, name)
        if owner == "":
            problems.append(f"{entry.path}: leads to a folder that contains it; remove the link")
        elif owner != name:
            problems.append(
                f"{entry.path}: is the same folder as class {owner!r}, so its images would be in "
                "two classes; remove the link"
            )
        else:
            groups.setdefault(name, []).append(entry)
    return ClassFolders(path, {name: groups[name] for name in sorted(groups)}, problems)


def list_images(
    folder: ClassFolders, classes: Sequence[str], reserved: frozenset[FileId], left_out: LeftOut
) -> Images:
    """List the images of every class.

    Every folder and file counts once in its class, whichever links lead to it. Links are followed,
    as subsets are often folders of links, unless they lead to a folder in ``reserved``.

    Args:
        folder: the part.
        classes: names in NFC; a name without a folder has no images.
        reserved: see ``reserved_folders``.
        left_out: counts everything that is not an image.

    Raises:
        InputError: a folder cannot be listed.
    """
    result = Images([], [], [])
    labels: dict[FileId, int] = {}
    shared: list[tuple[int, Entry]] = []
    for label, name in enumerate(classes):
        images = _list_class(folder.classes.get(name, []), reserved, left_out, result.problems)
        result.by_class.append([image.path for image in images])
        for image in images:
            owner = labels.setdefault(image.id, label)
            if owner != label:
                shared.append((owner, image))
    if shared:
        owner, image = shared[0]
        same = next(path for path in result.by_class[owner] if path.samefile(image.path))
        example = f"{same.relative_to(folder.path)} and {image.path.relative_to(folder.path)}"
        count = f"{len(shared):,} image{' is' if len(shared) == 1 else 's are'}"
        result.notes.append(
            f"{count} in more than one class of {folder.path.name}/ (for example {example} are "
            "the same file): remove the links from the wrong class"
        )
    return result


def reserved_folders(parts: Iterable[ClassFolders]) -> frozenset[FileId]:
    """Return the folders that links inside a class must not lead to.

    These are the classes of all parts and everything that contains a class: following such a link
    would put the images of one class into another.
    """
    entries = [entry for part in parts for entry in (*_above(part.path), *part.entries())]
    above = {folder for entry in entries if entry.is_link for folder in _above(entry.path)}
    return frozenset(entry.id for entry in (*entries, *above))


def scan(folder: Path, left_out: LeftOut) -> Entries:
    """List one folder; hidden and unreadable entries are counted.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except OSError as error:
        cannot_list(error)
    found, suffixes = Entries(), readable_suffixes()
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            left_out.add(Reason.HIDDEN, path)
            continue
        try:
            status = entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                cannot_list(error)
            message = (
                f"{path}: is a link that cannot be followed ({error.strerror}); restore what it "
                "leads to, or remove the link"
            )
            found.broken.append((path, message))
            continue
        kept = Entry(path, entry.is_symlink(), (status.st_dev, status.st_ino))
        if stat.S_ISDIR(status.st_mode):
            if entry.name.casefold() in _SYSTEM:
                left_out.add(Reason.SYSTEM, path)
            else:
                found.folders.append(kept)
        elif not stat.S_ISREG(status.st_mode):
            left_out.add(Reason.SPECIAL, path)  # opening a FIFO would wait for its writer
        elif path.suffix.lower() in suffixes:
            found.images.append(kept)
        else:
            left_out.add_unread(path)
    return found


def cannot_list(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: cannot be listed ({error.strerror}); check its permissions"
    ) from error


def _list_class(
    tops: Sequence[Entry], reserved: frozenset[FileId], left_out: LeftOut, problems: list[str]
) -> list[Entry]:
    """Return the images below the folders of one class, each file once."""
    visited: set[FileId] = set()
    images: list[Entry] = []
    # Links wait until all real folders are visited, so that images have their real paths.
    folders, links = list(reversed(tops)), list[Entry]()
    while folders or links:
        is_link = not folders
        folder = links.pop(0) if is_link else folders.pop()
        if folder.id in visited or (is_link and folder.id in reserved):
            left_out.add(Reason.LINK_BACK, folder.path)
            continue
        visited.add(folder.id)
        entries = scan(folder.path, left_out)
        problems.extend(message for _, message in entries.broken)
        images.extend(entries.images)
        for entry in entries.folders:
            (links if entry.is_link else folders).append(entry)
    images.sort(key=lambda image: (image.is_link, image.path))
    once: dict[FileId, Entry] = {}
    for image in images:
        if once.setdefault(image.id, image) is not image:
            left_out.add(Reason.REPEATED, image.path)
    return sorted(once.values(), key=lambda image: image.path)


def _above(path: Path) -> list[Entry]:
    """Return a folder and all folders that contain it, links resolved."""
    real = Path(os.path.realpath(path))
    statuses = ((folder, folder.stat()) for folder in (real, *real.parents))
    return [Entry(folder, False, (status.st_dev, status.st_ino)) for folder, status in statuses]
