"""Exported files tell nothing about the exporter: no path, no line of code, no image.

Exporters of PyTorch describe each operation by the Python stack that called it, and store the
example inputs. Without these, a file depends only on the student and on the versions of the
packages: two people who export the same student get the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule

from dgkd_search.errors import InputError
from dgkd_search.utils.log import Log, silent

_NODE_NOTES = ("stack_trace", "source_fn_stack", "from_node", "custom")
_ONNX_NOTES = ("doc_string", "metadata_props")
_SHORTEST = 5  # bytes of a folder's path; shorter ones occur in weights by chance


def example_of(images: Tensor) -> Tensor:
    """Return a batch of two black images, float [2, C, H, W], in its own memory.

    Programs store their example input. A slice of real images would even store all of them.
    """
    return torch.zeros(2, *images.shape[1:])


def strip_program(program: ExportedProgram) -> None:
    """Remove the stack traces and origins of all operations from a program."""
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                for name in _NODE_NOTES:
                    node.meta.pop(name, None)


def strip_onnx(message: Any) -> None:
    """Remove all documentation and metadata from an ONNX message, and from those inside it.

    Args:
        message: a ``ModelProto`` or another message of ONNX.
    """
    for field, value in message.ListFields():
        if field.name in _ONNX_NOTES:
            message.ClearField(field.name)
        elif hasattr(value, "ListFields"):
            strip_onnx(value)
        elif field.message_type is not None:
            for part in value:
                strip_onnx(part)


def named_folder(content: bytes, folders: Iterable[Path]) -> str | None:
    """Return a folder of the exporter's machine that a file names; archives are searched too.

    Args:
        content: of the file.
        folders: further folders to search for: those of the run, the store and the data.

    Returns:
        The home folder, the current folder, an installation or one of ``folders``; None if the file
        names none of them.
    """
    private = _pattern([*_usual_folders(), *folders])
    for part in _parts(content):
        if named := private.search(part):
            return os.fsdecode(named[0])
    return None


def check_anonymous(
    files: Mapping[str, bytes],
    folders: Iterable[Path],
    added: Collection[str] = (),
    log: Log = silent,
) -> None:
    """Check that no file names a folder of the exporter's machine.

    Args:
        files: contents by name.
        folders: see ``named_folder``.
        added: files of formats that are not built in. Only a note tells of a folder in them:
            TorchScript, for example, keeps the paths of source files.
        log: is called with the notes.

    Raises:
        InputError: a file names one.
    """
    for file, content in files.items():
        if (named := named_folder(content, folders)) is None:
            continue
        if file not in added:
            raise InputError(
                f"{file}: would publish {named}, a folder of this machine; remove it from the "
                "network or the option that contains it"
            )
        log(f"note: {file} names {named}, a folder of this machine; look before you publish it")


def _usual_folders() -> list[Path]:
    package = Path(__file__).parents[1]
    return [Path.home(), Path.cwd(), package.parent, Path(torch.__file__).parent.parent]


def _pattern(folders: Iterable[Path]) -> re.Pattern[bytes]:
    """Return a pattern that finds the folders and everything in them."""
    spellings = {
        spelling
        for path in folders
        for way in (path.absolute(), path.resolve())
        for spelling in _spellings(str(way))
    }
    found = [b"(?!)"]  # matches nothing
    for name in sorted(spellings):
        if len(name) >= _SHORTEST:
            # The folder /data must not match inside of student/data/weights.
            before = b"(?<![\\w.-])" if name.count(b"/") == 1 else b""
            found.append(before + re.escape(name) + b"(?![\\w.-])")
    return re.compile(b"|".join(found))


def _spellings(path: str) -> set[bytes]:
    """Return a path as programs write it: as it is, in JSON, and in an address."""
    plain = os.fsencode(path)
    return {plain, json.dumps(path)[1:-1].encode(), quote(plain).encode()}


def _parts(content: bytes) -> Iterable[bytes]:
    """Yield the content, and the members of an archive, which may be compressed."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    yield archive.read(member)
