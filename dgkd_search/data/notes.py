"""What users should know of their data before anything is trained."""

from __future__ import annotations

import os
from pathlib import Path

from dgkd_search.data.config import DataConfig
from dgkd_search.data.duplicates import Duplicates, FileComparison
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.splits import Split, choose_split
from dgkd_search.data.types import Dataset, ImageFiles, Labels, ListsTestFiles, Notes, PartName


def data_notes(dataset: Dataset, split: Split) -> list[str]:
    """Return lines about what is left out or converted, and about images in several parts.

    Line breaks in the names of files become spaces.

    Files of images are compared byte by byte, those of the test set included; no test image is
    decoded or evaluated.
    """
    notes = list(dataset.notes()) if isinstance(dataset, Notes) else []
    if isinstance(dataset, ImageFiles):
        notes += _duplicate_notes(dataset, split)
    return [" ".join(note.splitlines()) for note in notes]


def notes_of(config: DataConfig) -> list[str]:
    """Open the dataset that ``config`` names, and return its ``data_notes``.

    Raises:
        InputError: the dataset cannot be used.
    """
    dataset = open_dataset_files(config)
    if not isinstance(dataset, Notes | ImageFiles):
        return []
    return data_notes(dataset, choose_split(dataset, config))


def _duplicate_notes(dataset: ImageFiles, split: Split) -> list[str]:
    def paths(part: PartName, rows: Labels) -> list[str]:
        return [f"{dataset.root}/{os.fsdecode(name)}" for name in dataset.names(part, rows)]

    root, files = dataset.root, FileComparison()
    training = paths("train", split.rows.train)
    validation = paths(split.validation_in, split.rows.validation)
    notes = _overlap(root, "validation", files.duplicates(training, validation), len(validation))
    if isinstance(dataset, ListsTestFiles) and (
        test := [str(path) for path in dataset.test_files()]
    ):
        # Validation images choose the winner, and ``dgkd-search train`` trains on them too.
        seen = files.duplicates([*training, *validation], test)
        notes += _overlap(root, "test", seen, len(test))
    return notes


def _overlap(root: Path, part: str, found: Duplicates, images: int) -> list[str]:
    if not found.pairs:
        return []
    first, other = (os.path.relpath(path, root) for path in found.pairs[0])
    count = len(found.pairs)
    seen = "training or validation" if part == "test" else "training"
    return [
        f"{'' if found.complete else 'at least '}{count:,} of the {images:,} {part} images "
        f"{'is' if count == 1 else 'are'} in the {seen} set too (same bytes, for example {first} "
        f"and {other}): the {part} accuracy will be too high; keep one copy"
    ]
