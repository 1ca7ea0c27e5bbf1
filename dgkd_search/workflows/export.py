"""A student as its users deploy it: weights, a card, and forms that need no code of ours.

Every form is checked against the PyTorch model on real images before it is kept.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dgkd_search.config.resolve import resolve
from dgkd_search.data.decoding import decode_images
from dgkd_search.errors import InputError
from dgkd_search.models import build, load_families
from dgkd_search.results.best import Student, load_best, load_student
from dgkd_search.results.model_card import CARD_MARK, model_card
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.files import make_folder, write_bytes
from dgkd_search.workflows.reproduce import open_store, options_from_best, prepare_same_data

_FILES = {"torch": "student.pt2", "onnx": "student.onnx"}
FORMATS = tuple(_FILES)
_CARD = "README.md"
_IMAGES = 64  # that every form is checked on
_TOLERANCE = 1e-3  # of logits, as a share of their largest: other kernels sum in another order
_REPEATS = 30  # of a timing, of which the median counts


@dataclass(frozen=True)
class ExportedModel:
    """The student, or its teacher, in one form.

    Attributes:
        name: of the form.
        size: bytes of the file; of the teacher, of its weights.
        single, batch: milliseconds for one image, and for the 64, on one CPU thread.
    """

    name: str
    size: int
    single: float
    batch: float


def export_run(
    source: Path,
    target: Path,
    formats: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    log: Callable[[str], object] = lambda text: None,
) -> list[Path]:
    """Write a student and its card, and the forms that it is deployed in.

    Args:
        source: a run folder, a folder of a retrained student, or the best.yaml in one.
        target: a folder that holds no other student.
        formats: of ``FORMATS``; all that can be made here by default.
        overrides: places: ``data_dir``, ``store``; ``models``, where the networks are one's own.
        log: is given a line about each form that isn't made.

    Raises:
        InputError: the student is damaged, its data aren't at hand, ``target`` holds another
            student, or a form that was asked for can't be made or doesn't agree with the model.
    """
    folder = source if source.is_dir() else source.parent
    if (module := (overrides or {}).get("models")) is not None:
        load_families(module)
    student = load_student(source)  # what is damaged isn't passed on
    best = load_best(source)
    _check_free(target, folder)
    images = _images(source, best, overrides or {})
    makers = {"torch": _to_torch, "onnx": _to_onnx}
    wanted = list(formats if formats is not None else _possible(log))
    run, out = RunFolder(folder), RunFolder(target)
    forms, files = [_timed("PyTorch", len(run.student.read_bytes()), student, images)], {}
    with TemporaryDirectory() as temporary:
        for name in wanted:
            file = _FILES[name]
            path = Path(temporary) / file
            try:
                model = makers[name](student, images, path)
                _check(name, student, model, images)
            except InputError:
                raise
            except Exception as error:  # whatever exporters raise on networks that they can't say
                why = " ".join(str(error).split())[:200] or type(error).__name__
                if formats is not None:
                    raise InputError(f"--formats {name}: can't be made ({why})") from error
                log(f"no {file}: it can't be made ({why})")
                continue
            files[file] = path.read_bytes()
            forms.append(_timed(name, len(files[file]), model, images))
    forms.append(_teacher(best, images))
    # best.yaml last: it says that the folder is whole.
    files[_CARD] = model_card(best, [vars(form) for form in forms], [*files], len(images)).encode()
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


def _check_free(target: Path, folder: Path) -> None:
    """That nothing of somebody else's would be overwritten: an earlier export of this student may.

    Raises:
        InputError: something would be.
    """
    run = RunFolder(folder)
    same = {name: (folder / name).read_bytes() for name in (run.best.name, run.student.name)}
    best = target / run.best.name
    ours = best.exists() and best.read_bytes() == same[run.best.name]
    for name in (_CARD, *same, *_FILES.values()):
        there = target / name
        if not there.exists():
            continue
        if name == _CARD:
            foreign = CARD_MARK.encode() not in there.read_bytes()
        else:
            foreign = there.read_bytes() != same[name] if name in same else not ours
        if foreign:
            raise InputError(f"--to {target}: holds another {name}; choose a fresh folder")


def _possible(log: Callable[[str], object]) -> list[str]:
    """The forms for which everything is installed."""
    missing = [m for m in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(m)]
    if not missing:
        return [*FORMATS]
    log(
        f"no ONNX: {', '.join(missing)} isn't installed; pip install 'dgkd-search[export]' and "
        "export again"
    )
    return [name for name in FORMATS if name != "onnx"]


def _images(source: Path, best: Mapping[str, Any], overrides: Mapping[str, Any]) -> Tensor:
    """Validation images of the search, float [N, C, H, W] in 0..255."""
    options = options_from_best(source, best, {**overrides, "gpus_per_trial": 0})
    with open_store(options) as store:
        data = prepare_same_data(source, best, resolve(options).config.data, store)
        if data.info.streamed:
            listing = data.listing("validation")
            paths = listing.paths(range(min(_IMAGES, len(listing.labels))))
            decoded = decode_images(paths, data.info.channels, data.info.image_size)
            return torch.from_numpy(decoded).float()
        return torch.from_numpy(data.validation().images[:_IMAGES].copy()).float()


def _to_torch(student: Student, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    program = torch.export.export(student, (images[:2],), dynamic_shapes=_batches())
    torch.export.save(program, path)
    loaded: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return loaded


def _to_onnx(student: Student, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own parts
            program = torch.onnx.export(
                student,
                (images[:2],),
                dynamo=True,
                dynamic_shapes=_batches(),
                input_names=["images"],
                output_names=["logits"],
                verbose=False,
            )
    except ImportError as error:
        raise InputError(
            f"--formats onnx: {error.name} isn't installed; pip install 'dgkd-search[export]'"
        ) from None
    assert program is not None
    program.save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def _batches() -> dict[str, Any]:
    return {"images": {0: torch.export.Dim("batch", min=1)}}


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


def _teacher(best: Mapping[str, Any], images: Tensor) -> ExportedModel:
    """What the largest model of the chain would take; its weights don't matter for that."""
    spec = StageSpec.from_dict(best["stages"][0])
    model = build(spec.architecture, torch.Generator()).eval()
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    teacher = Student(model, dict(best["data"])).eval()
    return _timed(f"teacher {spec.architecture.name}, PyTorch", size, teacher, images)
