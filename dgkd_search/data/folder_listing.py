"""The listing of an image folder: its classes, its images by part, and what is not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgkd_search.data.folder_parts import class_name_notes, class_name_problems, find_parts
from dgkd_search.data.folder_walk import (
    ClassFolders,
    FileId,
    list_images,
    open_classes,
    reserved_folders,
)
from dgkd_search.data.left_out import LeftOut
from dgkd_search.errors import InputError

_MAX_REPORTED = 20
_ADD = "add files ending in .jpg, .png, .webp or another suffix of an image"


@dataclass(frozen=True)
class FolderListing:
    """The files of an image folder; none has been opened.

    Attributes:
        classes: names in NFC, in alphabetical order.
        images: for ``train`` and, where they exist, ``val`` and ``test``: the paths by class.
        renamed: whether a class below ``train`` or ``val`` has another name than its folder.
        notes: lines about names, links and files that are not used.
    """

    classes: tuple[str, ...]
    images: Mapping[str, list[list[Path]]]
    renamed: bool
    notes: tuple[str, ...]


def list_folder(root: Path) -> FolderListing:
    """List the images below ``root``; see ``ImageFolder`` for the rules.

    Raises:
        InputError: lists everything that is wrong with the folders and their names.
    """
    found = find_parts(root)
    left_out = found.left_out
    paths = {"train": found.train, "val": found.validation, "test": found.test}
    parts = {part: open_classes(path, left_out) for part, path in paths.items() if path is not None}
    train = parts["train"]
    classes = tuple(train.classes)
    problems = [message for folder in parts.values() for message in folder.problems]
    problems += _train_problems(train, left_out)
    if problems:
        raise InputError(_limited(problems))
    reserved = reserved_folders(parts.values())
    notes = [*found.notes, *class_name_notes(train.path, classes)]
    images: dict[str, list[list[Path]]] = {}
    empty: list[str] = []
    for part, folder in parts.items():
        differences = _compare_classes(folder, train, left_out) if part != "train" else []
        problems += differences
        listed = list_images(folder, classes, reserved, left_out)
        images[part] = listed.by_class
        messages = _empty_classes(folder, classes, listed.by_class, reserved)
        if part == "test" and any(listed.by_class):
            notes += messages  # the accuracy is that of all images
        elif part != "test":
            empty += messages
        elif not differences:
            problems.append(f"{folder.path}: contains no images; {_ADD}, or remove the folder")
        empty += listed.problems
        notes += [*_spelling_notes(folder), *listed.notes]
    if problems := [*problems, *empty]:
        raise InputError(_limited(problems))
    renamed = any(_is_renamed(folder) for part, folder in parts.items() if part != "test")
    return FolderListing(classes, images, renamed, (*notes, *left_out.lines()))


def _train_problems(train: ClassFolders, left_out: LeftOut) -> list[str]:
    classes = list(train.classes)
    if not classes:
        strays = left_out.strays(train.path)
        found = f" ({_in_no_class(strays)})" if strays else ""
        return [f"{train.path}: contains no classes{found}; add one folder of images per class"]
    if problems := class_name_problems(train.path, classes):
        return problems
    if len(classes) == 1:
        return [f"{train.path}: contains only one class, {classes[0]!r}; add at least one more"]
    return []


def _in_no_class(images: int) -> str:
    return f"{images:,} of its images {'is' if images == 1 else 'are'} in no class"


def _compare_classes(folder: ClassFolders, train: ClassFolders, left_out: LeftOut) -> list[str]:
    """Return what is wrong with the classes of a part other than the training set."""
    path, of_train = folder.path, f"{train.path.name}/"
    if not folder.classes:
        if strays := left_out.strays(path):
            return [
                f"{path}: {_in_no_class(strays)}, so it has no labels; sort images into one folder "
                f"per class as in {of_train}, or move {path.name}/ away"
            ]
        return [
            f"{path}: contains no images; add one folder per class as in {of_train}, or remove it"
        ]
    missing = [name for name in train.classes if name not in folder.classes]
    extra = [name for name in folder.classes if name not in train.classes]
    differences = [
        f"{verb} {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
        for verb, names in (("lacks", missing), ("adds", extra))
        if names
    ]
    if not differences:
        return []
    return [f"{path}: its classes must be those of {of_train}, but it {' and '.join(differences)}"]


def _empty_classes(
    folder: ClassFolders,
    classes: Sequence[str],
    by_class: Sequence[Sequence[Path]],
    reserved: frozenset[FileId],
) -> list[str]:
    """Return a message for each class whose folder has no images, with what it has instead."""
    messages: list[str] = []
    for name, paths in zip(classes, by_class, strict=True):
        if name in folder.classes and not paths:
            path = folder.classes[name][0].path
            instead = LeftOut(folder.path)
            list_images(folder, [name], reserved, instead)
            summary = instead.summary()
            but = f" but {summary}" if summary else ""
            messages.append(f"{path}: contains no images{but}; {_ADD}, or remove the class")
    return messages


def _spelling_notes(folder: ClassFolders) -> list[str]:
    """Return a note for each class that has folders in several Unicode forms."""
    return [
        f"class {name}: {len(entries)} folders in {folder.path.name}/ have this name in different "
        "Unicode forms (NFC, NFD); they are one class"
        for name, entries in folder.classes.items()
        if len(entries) > 1
    ]


def _is_renamed(folder: ClassFolders) -> bool:
    return any(
        entry.path.name != name for name, entries in folder.classes.items() for entry in entries
    )


def _limited(problems: list[str]) -> list[str]:
    rest = len(problems) - _MAX_REPORTED
    return [*problems[:_MAX_REPORTED], f"and {rest} more problems"] if rest > 0 else problems
