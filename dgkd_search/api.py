"""The library in a few functions; options are those of the command line, with underscores."""

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
        callback: is notified of every event. By default the search is silent, but in a notebook it
            shows its progress below its cell. ``observer`` is an earlier name of it.
        options: ``dataset="cifar100", budget=64, assistants=["resnet20"], ...``. With ``address``
            this process ends if the cluster's head goes; the run can be resumed.

    Raises:
        InputError: unknown options or values, all at once.
    """
    callback = _earlier("observer", options, "callback", callback)
    parsed = parse_options(options, "{}")
    return run_search(parsed, callback or _inline(parsed.quiet))


def resume(run: Path | str, callback: Callback | None = None, **options: Any) -> Summary:
    """Go on with a search that was interrupted, as ``dgkd-search --resume RUN`` does.

    Args:
        run: the run folder.
        callback: as for ``search``.
        options: a higher ``budget`` or ``time_budget``, other resources; nothing that would
            change what defines the search.

    Raises:
        InputError: it is no run, or can't go on like that.
    """
    callback = _earlier("observer", options, "callback", callback)
    overrides = parse_values(options, "{}", own_names=True)
    quiet = overrides.applied_to(Options()).quiet
    return resume_search(run, overrides, callback or _inline(quiet))


def _earlier(old: str, options: dict[str, Any], new: str, value: _T | None) -> _T | None:
    """An argument by its name of now or by an earlier one, which is taken out of the options.

    Raises:
        InputError: both are given.
    """
    earlier: _T | None = options.pop(old, None)
    if earlier is not None and value is not None:
        raise InputError(f"{old}: is an earlier name of {new}; give one of them")
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
        best: the file, or the folder it lies in.
        out: folder of the students; ``trained`` beside the file by default.
        repeats: each with a seed of its own for the whole chain, at least 1; the test set is read
            once a repeat.
        log: is called with a line at a time; ``tell`` is an earlier name of it, here and below.
        overrides: ``data_dir``, ``store``, ``teacher_weights``, ``models``, ``cpus_per_trial``,
            ``gpus_per_trial``, where they differ from the search's.

    Returns:
        Folders of the students and their accuracies on test, in percent.

    Raises:
        InputError: best.yaml is damaged, or its data or weights aren't at hand.
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
    """Write a student, its model card and the forms it is deployed in, as ``dgkd-search export``.

    Args:
        source: folder of a search or of a retrained student, or the best.yaml in one.
        to: folder to write into.
        formats: ``torch``, ``onnx`` or registered ones; all that can be made here by default.
        log: is called with a line about each form that isn't made.
        overrides: ``data_dir``, ``store``, ``models``; options that registered forms take.

    Returns:
        The files.

    Raises:
        InputError: the student is damaged, ``to`` holds another one, or a form that was asked for
            can't be made or doesn't agree with the PyTorch model.
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
    """NOKD, KD, TAKD, DGKD and stochastic DGKD side by side, as ``dgkd-search compare``.

    Args:
        chain: model names, from the teacher to the student.
        repeats: seeds of the student, at least 1.
        drop_prob: of stochastic DGKD, in [0, 1).
        log: is called with a line a student.
        options: data, family, recipe and store, as for ``search``.

    Returns:
        The runs of each method, by its name; accuracies in percent.

    Raises:
        InputError: unknown names or values; sizes that don't strictly decrease.
    """
    if isinstance(chain, str) or len(chain) < 2:
        raise InputError(f"chain {chain!r}: name a teacher and a student at least, in a list")
    require("repeats", repeats, COUNT)
    log = _earlier("tell", options, "log", None if log is silent else log) or silent
    options |= {"teacher": chain[0], "student": chain[-1]}
    return compare(methods(chain, drop_prob), repeats, options, log)


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
        read_manifest(folder)
    beside = folders[0].report if len(folders) == 1 else Path("comparison.html")
    path = beside if to is None else Path(to).expanduser()
    bad = "is a folder" if path.is_dir() else write_error(path.parent)
    if not path.parent.is_dir():
        bad = f"{path.parent} is no folder"
    if bad is not None:
        raise InputError(f"--to {path}: {bad}; name a file in a folder that can be written")
    from dgkd_search.results.report.page import render_report  # figures are slow to import

    return render_report(folders, path)
