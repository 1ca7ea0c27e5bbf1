"""The formats that a student is exported to; none needs this package to run.

To add a format, add a ``Form`` here or call ``register_export_form`` in your own package.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgkd_search.errors import InputError
from dgkd_search.utils.option_values import option_names
from dgkd_search.utils.registry import Registry, calling_module, check_name
from dgkd_search.workflows.export_clean import example_of, strip_onnx, strip_program

# Called with the student (images float [N, C, H, W] in 0..255 to logits [N, classes]), some images
# and a path. It writes the file and returns a function that runs the file on images, with the same
# types. Values of the options that the format takes follow as keyword arguments.
Make = Callable[..., Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Form:
    """A format that ``dgkd-search export`` can write.

    Attributes:
        name: name for ``--formats``.
        file: name of the file.
        make: writes the file, see ``Make``; the command line prints its errors in one line.
        usage: lines of Python code for the model card that use the file.
        needs: modules that must be installed; the format is skipped without them.
        install: command that installs them.
        options: names of registered options that ``make`` takes.
        summary: a few words for ``--help``.
    """

    name: str
    file: str
    make: Make
    usage: str = ""
    needs: tuple[str, ...] = ()
    install: str = ""
    options: tuple[str, ...] = ()
    summary: str = ""

    def missing(self) -> list[str]:
        """Return those of ``needs`` that aren't installed."""
        return [module for module in self.needs if not _installed(module)]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package isn't installed
        return False


def _torch(student: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    program = torch.export.export(student, (example_of(images),), dynamic_shapes=_batches())
    strip_program(program)
    torch.export.save(program, path)
    loaded: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return loaded


def _onnx(student: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    import onnx
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            student,
            (example_of(images),),
            dynamo=True,
            dynamic_shapes=_batches(),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_onnx(model)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def _batches() -> dict[str, Any]:
    return {"images": {0: torch.export.Dim("batch", min=1)}}


FORMS = Registry[Form](
    "form",
    "dgkd_search.export_forms",
    (
        Form(
            "torch",
            "student.pt2",
            _torch,
            'model = torch.export.load("student.pt2").module()\nlogits = model(images)',
            summary="torch.export program",
        ),
        Form(
            "onnx",
            "student.onnx",
            _onnx,
            'session = onnxruntime.InferenceSession("student.onnx")\n'
            '(logits,) = session.run(None, {"images": images})',
            ("onnx", "onnxscript", "onnxruntime"),
            "pip install 'dgkd-search[export]'",
            summary="ONNX model, for onnxruntime and others",
        ),
    ),
)


def register_export_form(
    name: str,
    file: str,
    make: Make,
    usage: str = "",
    needs: tuple[str, ...] = (),
    options: Sequence[str] = (),
    summary: str = "",
) -> None:
    """Register an export format; ``dgkd-search export`` writes it unless ``--formats`` excludes it.

    Call this function at the top of a module. Users name the module with ``--models``; a package
    declares it as an entry point of the group ``dgkd_search.export_forms`` under the format's name.

    Args:
        name, file, make, usage, needs, options, summary: see ``Form``.

    Raises:
        ValueError: the name or the file is invalid or taken.
    """
    check_name("form", name)
    if Path(file).name != file or file in ("", ".", ".."):
        raise ValueError(f"form {name!r}: file {file!r} must be a plain file name")
    taken = [form.name for form in FORMS.known() if form.file == file]
    if file in ("README.md", "best.yaml", "student.safetensors") or set(taken) - {name}:
        raise ValueError(f"form {name!r}: the file name {file} is taken; choose another")
    taken_options = option_names(options)
    form = Form(name, file, make, usage, needs, options=taken_options, summary=summary)
    FORMS.register(form, calling_module())


def form_that_can_be_made(name: str) -> Form:
    """Return the format of that name.

    Raises:
        InputError: the format is unknown, or its packages aren't installed.
    """
    form = FORMS.get(name, f"--formats {name}")
    if missing := form.missing():
        raise InputError(
            f"--formats {name}: {', '.join(missing)} not installed; "
            f"{form.install or 'pip install ' + ' '.join(missing)}"
        )
    return form
