"""A student as its users deploy it: weights, a card, and forms that need no code of ours.

Every form is checked against the PyTorch model on real images before it is kept.
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
from dgkd_search.results.model_card import CARD_MARK, ExportedModel, model_card
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.utils.files import make_folder, write_bytes
from dgkd_search.utils.log import Log, silent
from dgkd_search.workflows.export_forms import FORMS, Form, form_that_can_be_made
from dgkd_search.workflows.reproduce import (
    check_same_loss,
    open_store,
    options_from_best,
    prepare_same_data,
)

_CARD = "README.md"
_IMAGES = 64  # that every form is checked on
_TOLERANCE = 1e-3  # of logits, as a share of their largest: other kernels sum in another order
_REPEATS = 30  # of a timing, of which the median counts


def export_run(
    source: Path,
    target: Path,
    formats: Sequence[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    log: Log = silent,
) -> list[Path]:
    """Write a student and its card, and the forms that it is deployed in.

    Args:
        source: a run folder, a folder of a retrained student, or the best.yaml in one.
        target: a folder that holds no other student.
        formats: names of a ``Form``; all that can be made here by default.
        overrides: places: ``data_dir``, ``store``; ``models``, where the networks are one's own;
            options that forms take.
        log: is given a line about each form that isn't made.

    Raises:
        InputError: the student is damaged, its data aren't at hand, ``target`` holds another
            student, or a form that was asked for can't be made or doesn't agree with the model.
    """
    folder = source if source.is_dir() else source.parent
    if (module := (overrides or {}).get("models")) is not None:
        load_families(str(module))
    wanted = (
        _possible(log) if formats is None else [form_that_can_be_made(name) for name in formats]
    )
    student = load_student(source)  # what is damaged isn't passed on
    best = load_best(source)
    options = options_from_best(source, best, {**(overrides or {}), "gpus_per_trial": 0})
    check_same_loss(source, best)  # the card describes it
    _check_free(target, folder)
    images = _images(source, best, options)
    run, out = RunFolder(folder), RunFolder(target)
    made = _make_forms(wanted, options, student, images, log, strict=formats is not None)
    measured = [
        _timed("PyTorch", len(run.student.read_bytes()), student, images),
        *(each.measured for each in made),
        _teacher(best, images),
    ]
    uses = [each.form.usage for each in made if each.form.usage]
    files = {each.form.file: each.content for each in made}
    # best.yaml last: it says that the folder is whole.
    files[_CARD] = model_card(best, measured, uses, len(images)).encode()
    files[out.student.name] = run.student.read_bytes()
    files[out.best.name] = run.best.read_bytes()
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
class _MadeForm:
    """The student in a form: the file's content, and what it was measured at."""

    form: Form
    content: bytes
    measured: ExportedModel


def _make_forms(
    forms: Sequence[Form],
    options: Options,
    student: Student,
    images: Tensor,
    log: Log,
    *,
    strict: bool,
) -> list[_MadeForm]:
    """Make each form, and compare it with the model.

    Args:
        options: of the search and of now, from which each form gets those that it takes.
        strict: whether one that can't be made is an error; else ``log`` is given a line about it.

    Raises:
        InputError: a form doesn't agree with the model or, if ``strict``, can't be made.
    """
    made: list[_MadeForm] = []
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
            except Exception as error:  # whatever exporters raise on networks that they can't say
                why = one_line(error, 200)
                if strict:
                    raise InputError(f"--formats {form.name}: can't be made ({why})") from error
                log(f"no {form.file}: it can't be made ({why})")
                continue
            measured = _timed(form.name, len(content), model, images)
            made.append(_MadeForm(form, content, measured))
    return made


def _check_free(target: Path, folder: Path) -> None:
    """That nothing of somebody else's would be overwritten: an earlier export of this student may.

    Raises:
        InputError: something would be.
    """
    run = RunFolder(folder)
    same = {name: (folder / name).read_bytes() for name in (run.best.name, run.student.name)}
    best = target / run.best.name
    ours = best.exists() and best.read_bytes() == same[run.best.name]
    for name in (_CARD, *same, *(form.file for form in FORMS.known())):
        there = target / name
        if not there.exists():
            continue
        if name == _CARD:
            foreign = CARD_MARK.encode() not in there.read_bytes()
        else:
            foreign = there.read_bytes() != same[name] if name in same else not ours
        if foreign:
            raise InputError(f"--to {target}: holds another {name}; choose a fresh folder")


def _possible(log: Log) -> list[Form]:
    """The forms for which everything is installed."""
    possible = []
    forms, problems = FORMS.load_all()
    for problem in problems:
        log(problem)
    for form in forms:
        if missing := form.missing():
            install = form.install or f"pip install {' '.join(missing)}"
            log(f"no {form.file}: {', '.join(missing)} isn't installed; {install} and export again")
        else:
            possible.append(form)
    return possible


def _images(source: Path, best: BestConfig, options: Options) -> Tensor:
    """Validation images of the search, float [N, C, H, W] in 0..255."""
    with open_store(options) as store:
        data = prepare_same_data(source, best, resolve(options).config.data, store)
        if data.info.streamed:
            listing = data.listing("validation")
            paths = listing.paths(range(min(_IMAGES, len(listing.labels))))
            decoded = decode_images(paths, data.info.channels, data.info.image_size)
            return torch.from_numpy(decoded).float()
        return torch.from_numpy(data.validation().images[:_IMAGES].copy()).float()


def _check(
    name: str, student: nn.Module, model: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    """Compare predictions and logits, for one image and for several.

    Raises:
        InputError: they differ.
    """
    with torch.no_grad():
        for batch in (images[:1], images):
            expected, actual = student(batch), model(batch)
            error = float((expected - actual).abs().max() / expected.abs().max())
            same = bool((expected.argmax(1) == actual.argmax(1)).all())
            if not (same and error <= _TOLERANCE):
                raise InputError(
                    f"--formats {name}: differs from the model (logits by {error:.2g} of their "
                    "largest); it was not kept"
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
    return 1000 * float(np.median(seconds[3:]))  # the first ones warm up


def _teacher(best: BestConfig, images: Tensor) -> ExportedModel:
    """What the largest model of the chain would take; its weights don't matter for that."""
    spec = best.stages[0]
    model = build(spec.architecture, torch.Generator()).eval()
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    teacher = Student(model, best.data).eval()
    return _timed(f"teacher {spec.architecture.name}, PyTorch", size, teacher, images)
