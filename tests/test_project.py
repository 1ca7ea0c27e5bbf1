"""The project's own files: version, Python versions, hooks and workflow agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
HOOKS: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def python_classifiers() -> list[str]:
    found = (re.fullmatch(r".* :: (3\.\d+)", each) for each in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def commands(job: str) -> list[str]:
    return [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def lowest(name: str) -> Version:
    bounds = [Requirement(each) for each in PROJECT["dependencies"]]
    (bound,) = (each for each in bounds if each.name == name)
    return min(Version(each.version) for each in bound.specifier if each.operator == ">=")


def test_the_version_stands_in_one_place() -> None:
    literal = re.escape(PROJECT["version"])
    stating = [
        str(path.relative_to(ROOT))
        for pattern in ("*.toml", "*.cff", "*.md", "*.cfg", "dgkd_search/**/*.py")
        for path in ROOT.glob(pattern)
        if re.search(rf"\bversion\W{{1,5}}{literal}\b", path.read_text(), re.IGNORECASE)
    ]
    assert stating == ["pyproject.toml"]


def test_the_newest_changes_are_of_this_version() -> None:
    assert re.findall(r"^## (\S+),", CHANGELOG, re.MULTILINE)[0] == PROJECT["version"]


def test_every_supported_python_is_tried() -> None:
    versions = python_classifiers()
    assert WORKFLOW["jobs"]["versions"]["strategy"]["matrix"]["python-version"] == versions
    supported = SpecifierSet(PROJECT["requires-python"])
    assert all(version in supported for version in versions)
    assert "3.10" not in supported
    assert commands("lowest") == [".ci/lowest"]


def test_the_workflow_runs_what_developers_run() -> None:
    assert commands("check") == [".ci/run"]
    scripts = {line.split()[0] for job in WORKFLOW["jobs"] for line in commands(job)}
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, script


def test_the_workflow_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text


def test_hooks_need_no_network() -> None:
    assert {repository["repo"] for repository in HOOKS["repos"]} == {"local"}
    hooks = [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    tools = {Requirement(each).name for each in PROJECT["optional-dependencies"]["test"]}
    assert {hook["entry"].split()[0] for hook in hooks} <= tools


def test_torch_of_the_last_releases_suffices() -> None:
    assert lowest("torch") <= Version("2.11")


@pytest.mark.parametrize("name", ["SECURITY.md", "RELEASING.md", "CHANGELOG.md", "CITATION.cff"])
def test_files_of_the_project_are_in_the_source_archive(name: str) -> None:
    assert name in (ROOT / "MANIFEST.in").read_text().split()
