"""All names that benchmarks, tables and figures import from the package exist."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import dgkd_search

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(p for folder in ("experiments", "analysis") for p in (ROOT / folder).rglob("*.py"))
# The public names, which examples for users must not go beyond.
PUBLIC = ("experiments/tables.py",)


def imports(path: Path) -> list[tuple[str, str]]:
    """Return the names that a script imports from modules of the package, at any depth."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    ours = [node for node in nodes if str(node.module).split(".")[0] == "dgkd_search"]
    return [(str(node.module), alias.name) for node in ours for alias in node.names]


def modules(path: Path) -> list[str]:
    """Return the modules of the package that a script imports as modules."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import)]
    return [a.name for n in nodes for a in n.names if a.name.split(".")[0] == "dgkd_search"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_script_imports_is_there(path: Path) -> None:
    for module in modules(path):
        import_module(module)
    for module, name in imports(path):
        assert hasattr(import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_script_for_users_uses_the_public_names(name: str) -> None:
    text = (ROOT / name).read_text()
    assert imports(ROOT / name) == []
    used = {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dgkd_search"
    }
    assert used and used <= set(dgkd_search.__all__)
