"""The commands as functions; options have the names of the command line, with underscores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.notebook import NotebookProgress, in_notebook
from dgkd_search.config.options import Options
from dgkd_search.config.parse_options import parse_options, parse_values
from dgkd_search.errors import InputError
from dgkd_search.results.manifest import read_manifest
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.utils.files import write_error
from dgkd_search.utils.log import Log, silent
from dgkd_search.utils.rules import COUNT, require
from dgkd_search.workflows.compare import MethodRun, compare, methods
from dgkd_search.workflows.export import export_run
from dgkd_search.workflows.retrain import Retrained, retrain
from dgkd_search.workflows.search import resume_search, run_search

_T = TypeVar("_T")


def search(callback: Callback | None = None, **options: Any) -> Summary:
    """Search for the best chain, as ``dgkd-search`` does.

    Args:
        callback: is notified of every event. By default the search shows its progress in a
            notebook, and is silent elsewhere. ``observer`` is the earlier name of this argument.
        options: for example ``dataset="cifar100", budget=64, assistants=["resnet20"]``. With
            ``address``, this process exits if the head of the cluster fails; the run can be
            resumed.

    Returns:
        A summary; the complete results are in the run folder.

    Raises:
        InputError: all unknown options and invalid values at once.
    """
    callback = _earlier("observer", options, "callback", callback)
    parsed = parse_options(options, "{}")
    return run_search(parsed, callback or _inline(parsed.quiet))


def resume(run: Path | str, callback: Callback | None = None, **options: Any) -> Summary:
    """Resume a search, or rewrite the results of a finished one, as ``dgkd-search --resume`` does.

    Args:
        run: the run folder.
        callback: as for ``search``.
        options: a higher ``budget`` or ``time_budget``, or other resources; options that define
            the search can't change.

    Returns:
        A summary; the complete results are in the run folder.

    Raises:
        InputError: the folder is no run, or an option can't change.
    """
    callback = _earlier("observer", options, "callback", callback)
    overrides = parse_values(options, "{}", own_names=True)
    quiet = overrides.applied_to(Options()).quiet
    return resume_search(run, overrides, callback or _inline(quiet))


def _earlier(old: str, options: dict[str, Any], new: str, value: _T | None) -> _T | None:
    """Return an argument that may have an earlier name, and remove that from the options.

    Raises:
        InputError: both names are given.
    """
    earlier: _T | None = options.pop(old, None)
    if earlier is not None and value is not None:
        raise InputError(f"{old}: is the earlier name of {new}; give only {new}")
    return value if earlier is None else earlier


def _inline(quiet: bool) -> Callback | None:
    return NotebookProgress() if in_notebook() and not quiet else None


def train(
    best: Path | str,
    out: Path | str | None = None,
    repeats: int = 3,
    log: Log = silent,
    **overrides: Any,
) -> Retrained:
    """Train the chain of a best.yaml on training and validation images, as ``dgkd-search train``.

    Args:
        best: the file, or the folder that holds it.
        out: folder of the students; by default ``trained`` beside the file.
        repeats: number of trainings, at least 1. Each trains the complete chain with its own seed
            and reads the test set once.
        log: is called with a line at a time. ``tell`` is the earlier name of this argument, also
            in the functions below.
        overrides: ``data_dir``, ``store``, ``teacher_weights``, ``models``, ``cpus_per_trial`` or
            ``gpus_per_trial``, if they differ from those of the search.

    Returns:
        The folders of the students and their test accuracies in percent.

    Raises:
        InputError: best.yaml is damaged, or its data or weights are missing.
    """
    require("repeats", repeats, COUNT)
    best = Path(best).expanduser()
    beside = best if best.is_dir() else best.parent
    folder = beside / "trained" if out is None else Path(out).expanduser()
    log = _earlier("tell", overrides, "log", None if log is silent else log) or silent
    return retrain(best, folder, repeats, overrides, log)


def export_student(
    source: Path | str,
    to: Path | str,
    formats: Sequence[str] | None = None,
    log: Log = silent,
    **overrides: Any,
) -> list[Path]:
    """Write a student with its model card, and export it, as ``dgkd-search export`` does.

    Args:
        source: folder of a search or of a retrained student, or the best.yaml in one.
        to: folder to write to.
        formats: ``torch``, ``onnx`` or registered formats; by default all whose packages are
            installed.
        log: is called with a line about each format that is skipped.
        overrides: ``data_dir``, ``store``, ``models``, or options that registered formats take.

    Returns:
        The files that were written.

    Raises:
        InputError: the student is damaged, ``to`` holds another student, or a requested format
            can't be written or disagrees with the PyTorch model.
    """
    log = _earlier("tell", overrides, "log", None if log is silent else log) or silent
    folder, to = Path(source).expanduser(), Path(to).expanduser()
    return export_run(folder, to, formats, overrides, log)


def compare_methods(
    chain: Sequence[str],
    repeats: int = 3,
    drop_prob: float = 0.25,
    log: Log = silent,
    **options: Any,
) -> dict[str, list[MethodRun]]:
    """Compare NOKD (labels alone), KD, TAKD, DGKD and stochastic DGKD, as ``dgkd-search compare``.

    Args:
        chain: model names, from the teacher to the student.
        repeats: number of seeds of the student, at least 1.
        drop_prob: drop probability of stochastic DGKD, in [0, 1).
        log: is called with a line per student.
        options: data, family, recipe and store, as for ``search``.

    Returns:
        The runs by name of the method, with accuracies in percent.

    Raises:
        InputError: unknown names or values; sizes that don't strictly decrease.
    """
    if isinstance(chain, str) or len(chain) < 2:
        raise InputError(f"chain {chain!r}: must be a list with at least a teacher and a student")
    require("repeats", repeats, COUNT)
    log = _earlier("tell", options, "log", None if log is silent else log) or silent
    options |= {"teacher": chain[0], "student": chain[-1]}
    return compare(methods(chain, drop_prob), repeats, options, log)


def write_report(*runs: Path | str, to: Path | str | None = None) -> Path:
    """Write the report page of a run, or a page that compares runs, as ``dgkd-search report``.

    Args:
        runs: run folders, at least one.
        to: file to write; by default ``report.html`` in the run folder or, for several runs,
            ``comparison.html`` in the current folder.

    Returns:
        The file that was written.

    Raises:
        InputError: a folder is no run, a run is damaged, or ``to`` can't be written.
    """
    if not runs:
        raise InputError("runs: missing; name at least one run folder")
    folders = [RunFolder(Path(run).expanduser()) for run in runs]
    for folder in folders:
        read_manifest(folder)
    beside = folders[0].report if len(folders) == 1 else Path("comparison.html")
    path = beside if to is None else Path(to).expanduser()
    problem = "is a folder" if path.is_dir() else write_error(path.parent)
    if not path.parent.is_dir():
        problem = f"{path.parent} is not a folder"
    if problem is not None:
        raise InputError(f"--to {path}: {problem}; name a file in a writable folder")
    from dgkd_search.results.report.page import render_report  # figures are slow to import

    return render_report(folders, path)
