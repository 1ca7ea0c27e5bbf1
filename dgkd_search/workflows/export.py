"""Export of a student: weights, a model card, and formats that need none of this package's code.

Each exported model is compared with the PyTorch model on real images before it is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from dgkd_search.config.extra_options import taken_values
from dgkd_search.config.options import Options
from dgkd_search.config.resolve import resolve
from dgkd_search.data.decoding import decode_images
from dgkd_search.errors import InputError, one_line
from dgkd_search.models import build, load_families
from dgkd_search.results.best import Student, load_best, load_student
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.model_card import ExportedModel, is_model_card, model_card
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.location import NO_STORE
from dgkd_search.utils.files import make_folder, write_bytes
from dgkd_search.utils.limits import JSON_BYTES, YAML_BYTES, TooLarge, read_limited
from dgkd_search.utils.log import Log, silent
from dgkd_search.workflows.export_clean import check_anonymous
from dgkd_search.workflows.export_forms import FORMS, Form, form_that_can_be_made
from dgkd_search.workflows.reproduce import (
    check_same_loss,
    open_store,
    options_from_best,
    prepare_same_data,
)

_CARD = "README.md"
_IMAGES = 64  # images for the comparison with the PyTorch model
_TOLERANCE = 1e-3  # of logits, relative to the largest: other kernels sum in another order
_REPEATS = 30  # calls per timing; the median counts


def export_run(
    source: Path,
    target: Path,
    formats: Sequence[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    log: Log = silent,
) -> list[Path]:
    """Write a student with its model card, and export it to other formats.

    Args:
        source: a run folder, a folder of a retrained student, or the best.yaml in one.
        target: a folder without another student.
        formats: names of formats, each a ``Form``; by default all whose packages are installed.
        overrides: ``data_dir`` and ``store`` on this machine; ``models``, the user's own module;
            options that formats take.
        log: is called with a line about each format that is skipped.

    Returns:
        The files that were written.

    Raises:
        InputError: the student is damaged, its data are missing, ``target`` holds another student,
            or a requested format can't be written or disagrees with the PyTorch model.
    """
    folder = source if source.is_dir() else source.parent
    if (module := (overrides or {}).get("models")) is not None:
        load_families(str(module))
    wanted = (
        _installed_formats(log)
        if formats is None
        else [form_that_can_be_made(name) for name in formats]
    )
    student = load_student(source)  # verifies checksums
    best = load_best(source)
    options = options_from_best(source, best, {**(overrides or {}), "gpus_per_trial": 0})
    check_same_loss(source, best)  # the card describes the loss
    _check_overwrites(target, folder)
    images = _images(source, best, options)
    run, out = RunFolder(folder), RunFolder(target)
    exported = _export_forms(wanted, options, student, images, log, strict=formats is not None)
    measured = [
        _timed("PyTorch", len(run.student.read_bytes()), student, images),
        *(each.measured for each in exported),
        _teacher(best, images),
    ]
    uses = [each.form.usage for each in exported if each.form.usage]
    files = {each.form.file: each.content for each in exported}
    # best.yaml comes last: its presence means that the folder is complete.
    files[_CARD] = model_card(best, measured, uses, len(images)).encode()
    files[out.student.name] = run.student.read_bytes()
    files[out.best.name] = run.best.read_bytes()
    added = {each.form.file for each in exported if each.form.name in FORMS.added()}
    check_anonymous(files, _folders_of(options, folder, target), added, log)
    try:
        make_folder(target)
        for file, content in files.items():
            write_bytes(target / file, content)
    except OSError as error:
        raise InputError(
            f"--to {target}: can't be written ({error.strerror}); choose another folder"
        ) from None
    return [target / file for file in files]


@dataclass(frozen=True)
class _Exported:
    """An exported student: its format, the content of the file, size and latency."""

    form: Form
    content: bytes
    measured: ExportedModel


def _export_forms(
    forms: Sequence[Form],
    options: Options,
    student: Student,
    images: Tensor,
    log: Log,
    *,
    strict: bool,
) -> list[_Exported]:
    """Export the student to each format, and compare the result with the PyTorch model.

    Args:
        options: options of the search with the overrides; each format receives those it takes.
        strict: whether a failed export is an error; otherwise ``log`` is called with a line.

    Raises:
        InputError: an exported model disagrees with the PyTorch model or, if ``strict``, an export
            fails.
    """
    exported: list[_Exported] = []
    with TemporaryDirectory() as temporary:
        for form in forms:
            path = Path(temporary) / form.file
            try:
                values = taken_values(options, form.options, f"--formats {form.name}")
                model = form.make(student, images, path, **dict(values))
                _check(form.name, student, model, images)
                content = path.read_bytes()
            except InputError:
                raise
            except Exception as error:  # exporters raise many errors for unsupported networks
                why = one_line(error, 200)
                if strict:
                    raise InputError(f"--formats {form.name}: export failed ({why})") from error
                log(f"no {form.file}: export failed ({why})")
                continue
            measured = _timed(form.name, len(content), model, images)
            exported.append(_Exported(form, content, measured))
    return exported


def _folders_of(options: Options, *folders: Path) -> list[Path]:
    """Return the given folders, and those of the data and the store."""
    named = (options.data_dir, options.store if options.store != NO_STORE else None)
    return [*folders, *(Path(path).expanduser() for path in named if path is not None)]


def _check_overwrites(target: Path, folder: Path) -> None:
    """Check that the export overwrites nothing but an earlier export of the same student.

    Raises:
        InputError: it would overwrite another file.
    """
    run = RunFolder(folder)
    same = {name: (folder / name).read_bytes() for name in (run.best.name, run.student.name)}
    best = target / run.best.name
    same_student = best.exists() and _content(best, YAML_BYTES) == same[run.best.name]
    for name in (_CARD, *same, *(form.file for form in FORMS.known())):
        path = target / name
        if not path.exists():
            continue
        if name == _CARD:
            differs = not is_model_card(_content(path, JSON_BYTES))
        elif name in same:
            differs = _content(path, len(same[name])) != same[name]
        else:
            differs = not same_student
        if differs:
            raise InputError(f"--to {target}: holds another {name}; choose a new folder")


def _content(path: Path, limit: int) -> bytes:
    """Return the content of a file; nothing if it is larger, or no file that can be read."""
    try:
        return read_limited(path, limit)
    except (OSError, TooLarge):
        return b""


def _installed_formats(log: Log) -> list[Form]:
    """Return the formats whose packages are installed."""
    installed = []
    forms, problems = FORMS.load_all()
    for problem in problems:
        log(problem)
    for form in forms:
        if missing := form.missing():
            install = form.install or f"pip install {' '.join(missing)}"
            log(f"no {form.file}: {', '.join(missing)} not installed; {install} and export again")
        else:
            installed.append(form)
    return installed


def _images(source: Path, best: BestConfig, options: Options) -> Tensor:
    """Load validation images of the search as float [N, C, H, W] in 0..255."""
    with open_store(options) as store:
        data = prepare_same_data(source, best, resolve(options).config.data, store)
        if data.info.streamed:
            listing = data.listing("validation")
            paths = listing.paths(range(min(_IMAGES, len(listing.labels))))
            info = data.info
            decoded = decode_images(paths, info.channels, info.image_size, info.decoded_by)
            return torch.from_numpy(decoded).float()
        return torch.from_numpy(data.validation().images[:_IMAGES].copy()).float()


def _check(
    name: str, student: nn.Module, model: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    """Compare the predictions and logits of an exported model, for one image and for a batch.

    Raises:
        InputError: they differ from those of the student.
    """
    with torch.no_grad():
        for batch in (images[:1], images):
            expected, actual = student(batch), model(batch)
            error = float((expected - actual).abs().max() / expected.abs().max())
            same = bool((expected.argmax(1) == actual.argmax(1)).all())
            if not (same and error <= _TOLERANCE):
                raise InputError(
                    f"--formats {name}: differs from the PyTorch model (logits by {error:.2g} of "
                    "the largest); the file was not written, choose other formats"
                )


def _timed(
    name: str, size: int, model: Callable[[Tensor], Tensor], images: Tensor
) -> ExportedModel:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            single, batch = (_median_ms(model, part) for part in (images[:1], images))
    finally:
        torch.set_num_threads(threads)
    return ExportedModel(name, size, single, batch)


def _median_ms(model: Callable[[Tensor], Tensor], batch: Tensor) -> float:
    seconds = []
    for _ in range(_REPEATS + 3):
        began = time.perf_counter()
        model(batch)
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds[3:]))  # without the warm-up calls


def _teacher(best: BestConfig, images: Tensor) -> ExportedModel:
    """Measure the size and latency of the teacher with random weights, which cost the same."""
    spec = best.stages[0]
    model = build(spec.architecture, torch.Generator(), check_start=False).eval()
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    teacher = Student(model, best.data).eval()
    return _timed(f"teacher {spec.architecture.name}, PyTorch", size, teacher, images)
