"""The forms that a student is deployed in; each needs no code of ours to run.

Another one is a ``Form`` here or, in a package of one's own, ``register_export_form``.
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

# From the student (images float [N, C, H, W] in 0..255 to logits [N, classes]), some images and a
# path: writes a file there, and gives what that file computes, in the same types. The values of
# the options that the form takes are further arguments, by name.
Make = Callable[..., Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Form:
    """A form that ``dgkd-search export`` can write.

    Attributes:
        name: what ``--formats`` calls it.
        file: name of the file.
        make: see ``Make``; what it raises is told in one line.
        usage: how the file is used in Python, lines of code for the model card.
        needs: modules that must be installed, else it is left out.
        install: what installs them.
        options: names of registered options that ``make`` takes.
        summary: what it is, in a few words for ``--help``.
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
        """Those of ``needs`` that aren't installed."""
        return [module for module in self.needs if not _installed(module)]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is a part of
        return False


def _torch(student: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    program = torch.export.export(student, (images[:2],), dynamic_shapes=_batches())
    torch.export.save(program, path)
    loaded: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return loaded


def _onnx(student: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
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
    assert program is not None
    program.save(path)
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
            summary="a program of torch.export",
        ),
        Form(
            "onnx",
            "student.onnx",
            _onnx,
            'session = onnxruntime.InferenceSession("student.onnx")\n'
            '(logits,) = session.run(None, {"images": images})',
            ("onnx", "onnxscript", "onnxruntime"),
            "pip install 'dgkd-search[export]'",
            summary="ONNX, for onnxruntime and others",
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
    """Make a form known to ``dgkd-search export``, which writes it unless others are asked for.

    Call it at the top of a module, and name that module with ``--models`` or, in a package, as an
    entry point of the group ``dgkd_search.export_forms`` under the form's name.

    Args:
        name, file, make, usage, needs, options, summary: see ``Form``.

    Raises:
        ValueError: the name or the file is taken, or is none.
    """
    check_name("form", name)
    if Path(file).name != file or file in ("", ".", ".."):
        raise ValueError(f"form {name!r}: {file!r} is no plain file name")
    taken = [form.name for form in FORMS.known() if form.file == file]
    if file in ("README.md", "best.yaml", "student.safetensors") or set(taken) - {name}:
        raise ValueError(f"form {name!r}: {file} is another's file; choose a name of its own")
    taken_options = option_names(options)
    form = Form(name, file, make, usage, needs, options=taken_options, summary=summary)
    FORMS.register(form, calling_module())


def form_that_can_be_made(name: str) -> Form:
    """The form of that name.

    Raises:
        InputError: there is none, or what it needs isn't installed.
    """
    form = FORMS.get(name, f"--formats {name}")
    if missing := form.missing():
        raise InputError(
            f"--formats {name}: {', '.join(missing)} isn't installed; "
            f"{form.install or 'pip install ' + ' '.join(missing)}"
        )
    return form
