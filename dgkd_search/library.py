"""The commands beside the search as functions; options are theirs, with underscores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dgkd_search import compare as comparison
from dgkd_search import product
from dgkd_search.errors import InputError
from dgkd_search.files import unwritable
from dgkd_search.results.record import read_record
from dgkd_search.results.run import RunFolder
from dgkd_search.retrain import Retrained, retrain

Tell = Callable[[str], object]


def _silent(text: str) -> None:
    """What is told of progress by default: nothing."""


def train(
    best: Path | str,
    out: Path | str | None = None,
    repeats: int = 3,
    tell: Tell = _silent,
    **places: Any,
) -> Retrained:
    """Train the chain of a best.yaml on training and validation images, as ``dgkd-search train``.

    Args:
        best: the file, or the folder it lies in.
        out: folder of the students; ``trained`` beside the file by default.
        repeats: each with a seed of its own for the whole chain, at least 1; the test set is read
            once a repeat.
        tell: is given a line at a time.
        places: ``data_dir``, ``store``, ``teacher_weights``, ``models``, ``cpus_per_trial``,
            ``gpus_per_trial``, where they differ from the search's.

    Returns:
        Folders of the students and their accuracies on test, in percent.

    Raises:
        InputError: best.yaml is damaged, or its data or weights aren't at hand.
    """
    if repeats < 1:
        raise InputError(f"repeats {repeats}: must be at least 1")
    best = Path(best).expanduser()
    beside = best if best.is_dir() else best.parent
    folder = beside / "trained" if out is None else Path(out).expanduser()
    return retrain(best, folder, repeats, places, tell)


def export_student(
    source: Path | str,
    to: Path | str,
    formats: Sequence[str] | None = None,
    tell: Tell = _silent,
    **places: Any,
) -> list[Path]:
    """Write a student, its model card and the forms it is deployed in, as ``dgkd-search export``.

    Args:
        source: folder of a search or of a retrained student, or the best.yaml in one.
        to: folder to write into.
        formats: of ``torch`` and ``onnx``; all that can be made here by default.
        tell: is given a line about each form that isn't made.
        places: ``data_dir``, ``store``, ``models``.

    Returns:
        The files.

    Raises:
        InputError: the student is damaged, ``to`` holds another one, or a form that was asked for
            can't be made or doesn't agree with the PyTorch model.
    """
    wrong = [name for name in formats or () if name not in product.FORMATS]
    if wrong:
        known = ", ".join(product.FORMATS)
        raise InputError(f"formats {', '.join(wrong)}: unknown; choose of {known}")
    return product.export(Path(source).expanduser(), Path(to).expanduser(), formats, places, tell)


def compare_methods(
    chain: Sequence[str],
    repeats: int = 3,
    drop_prob: float = 0.25,
    tell: Tell = _silent,
    **options: Any,
) -> dict[str, list[comparison.Run]]:
    """NOKD, KD, TAKD, DGKD and stochastic DGKD side by side, as ``dgkd-search compare``.

    Args:
        chain: model names, from the teacher to the student.
        repeats: seeds of the student, at least 1.
        drop_prob: of stochastic DGKD, in [0, 1).
        tell: is given a line a student.
        options: data, family, recipe and store, as for ``search``.

    Returns:
        The runs of each method, by its name; accuracies in percent.

    Raises:
        InputError: unknown names or values; sizes that don't strictly decrease.
    """
    if isinstance(chain, str) or len(chain) < 2:
        raise InputError(f"chain {chain!r}: name a teacher and a student at least, in a list")
    if repeats < 1:
        raise InputError(f"repeats {repeats}: must be at least 1")
    said = {**options, "teacher": chain[0], "student": chain[-1]}
    return comparison.compare(comparison.methods(chain, drop_prob), repeats, said, tell)


def write_report(*runs: Path | str, to: Path | str | None = None) -> Path:
    """Write the page of a run again, or one that compares several, as ``dgkd-search report``.

    Args:
        runs: their folders, at least one.
        to: the file; ``report.html`` in the folder of the only run, ``comparison.html`` here for
            several.

    Raises:
        InputError: one is no run, or it is damaged; or ``to`` can't be written.
    """
    if not runs:
        raise InputError("no run is named; name the folder of a search")
    folders = [RunFolder(Path(run).expanduser()) for run in runs]
    for folder in folders:
        read_record(folder)
    beside = folders[0].report if len(folders) == 1 else Path("comparison.html")
    path = beside if to is None else Path(to).expanduser()
    bad = "is a folder" if path.is_dir() else unwritable(path.parent)
    if not path.parent.is_dir():
        bad = f"{path.parent} is no folder"
    if bad is not None:
        raise InputError(f"--to {path}: {bad}; name a file in a folder that can be written")
    from dgkd_search import report  # figures are slow to import

    return report.write_report(folders, path)
