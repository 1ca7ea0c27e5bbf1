"""Imports go one way; only modules that need heavy packages or the disk use them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dgkd_search

ROOT = Path(dgkd_search.__file__).parent
REPOSITORY = Path(__file__).parents[1]
# In CONTRIBUTING's list, a part imports only itself and parts below it.
ORDER = re.findall(
    r"^\| `(\w+)", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
)
# Packages that only some parts may import.
MAY_IMPORT = {
    "ray": {"study/ray_tune"},
    "optuna": {"study", "workflows", "results"},
    "torch": {"models", "data", "training", "distillation", "config", "results", "workflows"},
    "argparse": {"cli"},
}
FILES = sorted(ROOT.rglob("*.py"))


def part(path: Path) -> str:
    """Return the part of a file: ``study`` for ``study/space.py``, ``api`` for ``api.py``."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path) -> list[tuple[int, str]]:
    """Return all imports of a file with their lines, except those for type checkers."""
    found: list[tuple[int, str]] = []
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found.extend((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_has_its_place() -> None:
    assert sorted(ORDER) == sorted({part(path) for path in FILES} - {"__init__", "__main__"})


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_part_imports_only_parts_below_it(path: Path) -> None:
    own = part(path)
    below = ORDER[ORDER.index(own) :] if own in ORDER else ORDER
    names = [(line, name.split(".")) for line, name in imports(path)]
    mine = [(line, name[1:]) for line, name in names if name[0] == "dgkd_search"]
    # An empty name is the package itself, which imports all parts.
    assert not [(line, name) for line, name in mine if not name or name[0] not in below]


def test_no_module_imports_itself_through_others() -> None:
    modules = {
        ".".join(("dgkd_search", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in FILES
    }
    edges = {
        module: {
            target
            for _, name in imports(path)
            for target in (name, name.rpartition(".")[0])
            if target in modules
        }
        for module, path in modules.items()
    }
    while leaves := {m for m, targets in edges.items() if not targets & edges.keys()}:
        for leaf in leaves:
            del edges[leaf]
    assert not edges


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_only_the_parts_that_may_know_a_package_import_it(path: Path) -> None:
    packages = {name.split(".")[0] for _, name in imports(path)}
    own = path.relative_to(ROOT).as_posix()
    for package, parts in MAY_IMPORT.items():
        allowed = any(own.startswith(f"{name}/") for name in parts)
        assert package not in packages or allowed, package


# Functions that change the disk: methods of any object, and functions of some modules.
CHANGES = set(
    "write_text mkdir makedirs unlink rmdir removedirs rmtree symlink utime chmod copyfile "
    "copytree to_csv mkstemp mkdtemp NamedTemporaryFile".split()
)
CHANGES |= {
    f"os.{name}" for name in "open write truncate remove rename renames replace link".split()
}
CHANGES |= {"shutil.copy", "shutil.copy2", "shutil.move"}
# These write to Ray's temporary folder and the download folder, not to a store or run folder.
MAY_CHANGE = {"utils/files.py", "study/ray_tune/ray_session.py", "data/cifar.py"}


def changes(path: Path) -> list[str]:
    """Return the calls in a file that change the disk, with their lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        whole = ast.unparse(node.func)
        name = whole.rpartition(".")[2]
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        modes = {a.value for a in arguments if isinstance(a, ast.Constant)}
        writes = name == "open" and modes & {"w", "wb", "a", "ab", "x", "xb", "r+b", "w+b"}
        own = name == "write_bytes" and name != whole  # a path's
        if {name, whole} & CHANGES or writes or own:
            found.append(f"{node.lineno}: {whole}")
    return found


def test_one_module_alone_writes_to_store_and_run_folder() -> None:
    """So that tests can intercept every change (tests/helpers/crashing.py)."""
    found = {ids(path): lines for path in FILES if (lines := changes(path))}
    assert found.keys() == MAY_CHANGE, found


def test_ray_is_imported_by_nothing_that_a_search_imports_before_it_starts_ray() -> None:
    """Ray reads its settings when it is first imported."""
    code = "import sys, dgkd_search.workflows.search; print('ray' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dgkd_search", {"numpy", "torch", "optuna", "ray", "rich", "pandas"}),
        ("dgkd_search.cli.main", {"numpy", "torch", "optuna", "ray", "rich", "pandas"}),
        ("dgkd_search.data", {"numpy", "torch", "PIL", "sklearn"}),
        ("dgkd_search.models", {"torch", "torchvision"}),
        ("dgkd_search.store.store", {"torch", "optuna", "ray"}),
    ],
)
def test_importing_it_is_cheap(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "\n", result.stdout + result.stderr
