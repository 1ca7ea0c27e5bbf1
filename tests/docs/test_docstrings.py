"""Arguments and attributes that docstrings name exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dgkd_search

ROOT = Path(dgkd_search.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
Documented = ast.FunctionDef | ast.ClassDef


def documented(path: Path) -> Iterator[tuple[Documented, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield node, text


def named(text: str, section: str) -> list[str]:
    """Return the names that a section of a docstring explains."""
    match = re.search(rf"^{section}:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    lines = match[1].splitlines() if match else []
    heads = [line.strip().partition(":")[0] for line in lines if re.match(r" {4}\w[\w, *]*:", line)]
    return [name.strip(" *") for head in heads for name in head.split(",")]


def parameters(node: Documented) -> set[str]:
    """Return the parameters of a function, or of a class's constructor."""
    functions = [node] if isinstance(node, ast.FunctionDef) else []
    if isinstance(node, ast.ClassDef):
        functions = [
            member
            for member in node.body
            if isinstance(member, ast.FunctionDef) and member.name in ("__init__", "__call__")
        ]
    names: set[str] = set()
    for function in functions:
        given = function.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        names |= {argument.arg for argument in every if argument is not None}
    return names


def attributes(node: ast.ClassDef) -> set[str]:
    """Return the fields and properties of a class, and the attributes that its methods set."""
    names: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            names.add(inner.target.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            names.add(inner.attr)
        elif isinstance(inner, ast.FunctionDef):
            names.add(inner.name)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_explain_names_that_are_there(path: Path) -> None:
    wrong = []
    for node, text in documented(path):
        known = parameters(node)
        if isinstance(node, ast.ClassDef):
            known |= attributes(node)
            known |= {"args"} if node.bases else set()
        for section in ("Args", "Attributes"):
            wrong += [
                f"{node.lineno}: {node.name}: {section}: {name}"
                for name in named(text, section)
                if name not in known
            ]
    assert not wrong
