from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ray._private.worker
import ray.tune.execution.class_cache
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dgkd_search.study.ray_tune import private_api

ROOT = Path(__file__).parents[3]


def test_the_installed_ray_is_one_that_was_tried() -> None:
    assert SpecifierSet(private_api.VERSIONS).contains(version("ray"))


def test_pyproject_allows_what_was_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["dependencies"]]
    (ray,) = [each for each in requirements if each.name == "ray"]
    assert ray.specifier == SpecifierSet(private_api.VERSIONS)


@pytest.mark.parametrize(("module", "name"), private_api.NAMES)
def test_every_name_is_there(module: str, name: str) -> None:
    __import__(module)
    attrgetter(name)(sys.modules[module])


def test_they_stand_nowhere_else() -> None:
    private = re.compile(
        r"ray\._private|ray\._raylet|class_cache|_global_node|_temp_dir|print_to_stdstream"
    )
    files = [
        path for path in (ROOT / "dgkd_search").rglob("*.py") if private.search(path.read_text())
    ]
    assert [path.name for path in files] == ["private_api.py"]


def test_actors_get_no_environment_and_tune_its_own_back() -> None:
    module = ray.tune.execution.class_cache
    names = ("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE")
    before = {name: getattr(module, name) for name in names}
    assert any(before.values())
    with private_api.no_environment_of_actors():
        inside = {name: getattr(module, name) for name in names}
        assert not any(inside.values())
        assert [type(value) for value in inside.values()] == [*map(type, before.values())]
    assert all(getattr(module, name) is before[name] for name in names)


def test_raylets_are_silent_and_speak_again(capsys: pytest.CaptureFixture[str]) -> None:
    worker: Any = ray._private.worker
    before = worker.print_to_stdstream
    with private_api.silent_raylets():
        worker.print_to_stdstream({"lines": ["a worker died"]}, ignore_prefix=False)
    assert worker.print_to_stdstream is before
    assert capsys.readouterr() == ("", "")


class Node:
    def __init__(self) -> None:
        self.ended: list[tuple[Any, ...]] = []

    def kill_all_processes(self, *arguments: Any, **options: Any) -> str:
        self.ended.append((*arguments, options))
        return "ended"


def test_what_is_to_come_before_the_end_does(monkeypatch: pytest.MonkeyPatch) -> None:
    node, calls = Node(), []
    monkeypatch.setattr(ray._private.worker, "_global_node", node)
    private_api.before_processes_end(lambda: calls.append(len(node.ended)))
    assert node.kill_all_processes(1, allow_graceful=True) == "ended"
    assert calls == [0]
    assert node.ended == [(1, {"allow_graceful": True})]


@pytest.mark.parametrize(
    "use",
    [
        private_api.forget_token,
        lambda: private_api.before_processes_end(lambda: None),
        lambda: private_api.silent_raylets().__enter__(),
        lambda: private_api.no_environment_of_actors().__enter__(),
    ],
)
@pytest.mark.parametrize("gone", ["module", "name"])
def test_a_ray_without_them_does_without(
    use: Callable[[], object], gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {module for module, _ in private_api.NAMES}:
        empty = None if gone == "module" else ModuleType(name)
        monkeypatch.setitem(sys.modules, name, empty)
    use()
