"""The parts of an image folder by the names that people give them, in any case."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dgkd_search.data.folder_walk import cannot_list, scan
from dgkd_search.data.formats import readable_suffixes
from dgkd_search.data.left_out import LeftOut
from dgkd_search.errors import InputError

_TRAIN, _VALIDATION, _TEST = "train", "val", "test"  # the names in the documentation
_NAMES = {
    _TRAIN: (_TRAIN, "training"),
    _VALIDATION: (_VALIDATION, "valid", "validation", "dev"),
    _TEST: (_TEST, "testing"),
}
_TITLES = {_TRAIN: "training set", _VALIDATION: "validation set", _TEST: "test set"}
_PART_NAMES = frozenset(name for names in _NAMES.values() for name in names)
# Folders of datasets for other tasks, or around a dataset.
_NOT_CLASSES = {
    *("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "data", "dataset"),
    *("labels", "label", "annotations", "annotation", "masks", "mask", "segmentations", "bboxes"),
    *("metadata", "meta", "csv", "json", "xml"),
}
# Words in the names of folders that are no classes of a folder without train/.
_WORDS = _PART_NAMES | _NOT_CLASSES | {"eval", "holdout", "trainval", "unlabeled", "splits"}
_SHOWN = 5


@dataclass(frozen=True)
class PartFolders:
    """The folders of the parts.

    Attributes:
        train: the folder that contains the classes of the training set.
        left_out: what is directly in the dataset's folder and in no part.
        validation, test: likewise, or None.
        notes: lines about unusual names and about folders that are not used.
    """

    train: Path
    left_out: LeftOut
    validation: Path | None = None
    test: Path | None = None
    notes: tuple[str, ...] = ()


def find_parts(root: Path) -> PartFolders:
    """Find the parts below ``root``, or take its folders as classes if there are only classes.

    Raises:
        InputError: there is no training set, or a part has two folders.
    """
    if not is_folder(root):
        raise InputError(f"data-dir {root}: is not a folder; give the one that contains train/")
    left_out = LeftOut(root)
    entries = scan(root, left_out)
    folders = [entry.path.name for entry in entries.folders]
    by_part = {part: _candidates(root, part, folders) for part in _NAMES}
    problems = [
        f"{root}: {' and '.join(f'{name}/' for name in names)} can both be the {_TITLES[part]}; "
        "keep one of them here"
        for part, names in by_part.items()
        if len(names) > 1
    ]
    broken = {path.name: message for path, message in entries.broken}
    problems += [broken.pop(name) for name in list(broken) if name.casefold() in _PART_NAMES]
    if problems:
        raise InputError(problems)
    found = {part: names[0] for part, names in by_part.items() if names}
    for image in entries.images:
        left_out.add_stray(image.path)
    if _TRAIN not in found:
        _check_flat(root, found, folders, len(entries.images))
        note = f"{root} has no train/: its {len(folders)} folders are the classes to train on"
        return PartFolders(root, LeftOut(root), notes=(note, *broken.values()))
    paths = {part: root / name for part, name in found.items()}
    used = [entry.id for entry in entries.folders if entry.path.name in found.values()]
    others = [entry.path.name for entry in entries.folders if entry.id not in used]
    notes = (*_name_notes(found, others), *broken.values())
    return PartFolders(
        paths[_TRAIN], left_out, paths.get(_VALIDATION), paths.get(_TEST), notes=notes
    )


def class_name_problems(folder: Path, classes: Iterable[str]) -> list[str]:
    """Return a message if no class of ``folder`` has a name that people give to classes."""
    classes = list(classes)
    if not all(name.casefold() in _NOT_CLASSES | _PART_NAMES for name in classes):
        return []
    inner = any(name.casefold() in _PART_NAMES for name in classes)
    hint = f"; if that is the dataset, name {folder}" if inner else ""
    return [
        f"{folder}: contains only {_listed(classes)}, which is no name of a class; add one folder "
        f"of images per class (annotations of objects or pixels are not read){hint}"
    ]


def class_name_notes(folder: Path, classes: Iterable[str]) -> list[str]:
    """Return a note about classes whose names are unusual for classes."""
    odd = [name for name in classes if name.casefold() in _NOT_CLASSES | _PART_NAMES]
    if not odd:
        return []
    use = "is used as a class" if len(odd) == 1 else "are used as classes"
    return [f"{_listed(odd)} in {folder.name}/ {use}"]


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder.

    Raises:
        InputError: a folder above it cannot be entered.
    """
    try:
        return path.is_dir()
    except OSError as error:  # for example a parent folder without permission
        cannot_list(error)


def _candidates(root: Path, part: str, folders: list[str]) -> list[str]:
    """Return the names of the different folders that can be a part, the documented name first."""
    names = sorted((name for name in folders if name.casefold() in _NAMES[part]), key=_rank)
    if names and part not in names and (root / part).is_dir():
        names.insert(0, part)  # the file system ignores case
    different: list[str] = []
    for name in names:
        if not any((root / name).samefile(root / other) for other in different):
            different.append(name)
    return different


def _rank(name: str) -> tuple[bool, str]:
    return name not in _NAMES, name


def _check_flat(root: Path, found: dict[str, str], folders: list[str], images: int) -> None:
    """Raise InputError unless all folders of ``root`` seem to be classes."""
    if hint := _elsewhere(root):
        raise InputError(f"data-dir {root}: has no train/; {hint}")
    if found or len(folders) < 2:
        has = f"{_listed(folders)} but " if folders else ""
        has += f"{images:,} images in no class and " if images else ""
        rename = ", or give the folder of the training set this name" if folders else ""
        raise InputError(
            f"data-dir {root}: has {has}no train/; add it, with one folder per class{rename}"
        )
    odd = [name for name in folders if set(re.findall(r"[a-z]+", name.casefold())) & _WORDS]
    if odd:
        raise InputError(
            f"data-dir {root}: has no train/, and {_listed(odd)} may be no class; put one folder "
            "per class into train/, and those of other parts into val/ and test/"
        )
    # A home folder must not be searched for images, and folders of datasets are no classes.
    if empty := [name for name in folders if not _has_images(root / name)]:
        raise InputError(
            f"data-dir {root}: has no train/, and directly in {_listed(empty)} are no images that "
            "can be read; name the folder that contains train/, or put one folder per class into it"
        )


def _has_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(Path(entry.name).suffix.lower() in readable_suffixes() for entry in entries)
    except OSError as error:
        cannot_list(error)


def _elsewhere(root: Path) -> str:
    """Return advice if a folder with a training set is one or two levels above, or below."""
    for above in (root.absolute(), *root.absolute().parents[:2]):
        if above.name.casefold() in _PART_NAMES and _has_train(above.parent):
            return f"name the folder above, {above.parent}"
    below = [path for path in _subfolders(root) if _has_train(path)]
    return f"name the subfolder that has it, {' or '.join(map(str, below[:3]))}" if below else ""


def _has_train(folder: Path) -> bool:
    return any(path.name.casefold() in _NAMES[_TRAIN] for path in _subfolders(folder))


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []  # only advice depends on it


def _name_notes(found: dict[str, str], others: list[str]) -> list[str]:
    notes = [f"{name}/ is the {_TITLES[part]}" for part, name in found.items() if name != part]
    if others:
        notes.append(
            f"not used: {_listed(others)}, as only train/, val/ and test/ (or names like "
            "training/, valid/ and testing/) are parts"
        )
    return notes


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{name}/" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
