"""Checks of this machine for a search: packages, devices, disk space, and whether Ray starts."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from dgkd_search.config.options import Options
from dgkd_search.config.resolve import resolve
from dgkd_search.errors import DgkdError, one_line
from dgkd_search.store.inventory import list_store
from dgkd_search.store.location import FORMAT_FILE, default_root
from dgkd_search.store.store import Store
from dgkd_search.study.config import Resources
from dgkd_search.utils.files import write_error
from dgkd_search.utils.formatting import format_bytes, pluralize
from dgkd_search.utils.system import cores

_NAME = "dgkd-search"
_LEAST_ROOM = 2**30  # bytes on the store's disk; a real search needs more


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        problem: why a search would fail and what to do, or empty.
    """

    name: str
    words: str
    problem: str = ""


def examine(store: Path | None = None, ray: bool = True) -> Iterator[Finding]:
    """Run the checks one by one.

    Args:
        store: folder of the store; in the user's cache folder by default.
        ray: whether to start Ray, which takes some seconds.
    """
    yield Finding(_NAME, f"{version(_NAME)}, Python {platform.python_version()} ({sys.executable})")
    yield from _packages()
    yield from _devices()
    yield _store(default_root() if store is None else store)
    yield _writable(
        "run folders", Path("runs").absolute(), "start searches in another folder, or use --out"
    )
    if ray:
        yield _ray()


def _packages() -> Iterator[Finding]:
    """Check the requirements, and those of each extra."""
    wanted: dict[str, list[Requirement]] = {}
    for line in requires(_NAME) or ():
        requirement = Requirement(line)
        extra = str(requirement.marker).rpartition("extra == ")[2].strip("\"'")
        wanted.setdefault(extra if requirement.marker else "", []).append(requirement)
    for extra, requirements in wanted.items():
        if extra == "test":
            continue
        present, missing = [], []
        for requirement in requirements:
            try:
                installed = version(requirement.name)
            except PackageNotFoundError:
                missing.append(str(requirement).split(";")[0].strip())
                continue
            present.append(f"{requirement.name} {installed}")
            if not requirement.specifier.contains(installed, prereleases=True):
                missing.append(f"{requirement.name}{requirement.specifier} (found {installed})")
        words = ", ".join(present)
        if not extra:
            problem = f"missing {', '.join(missing)}; pip install {_NAME} again" if missing else ""
            yield Finding("packages", words, problem)
        elif missing:
            yield Finding(f"extra {extra}", f"not installed: pip install '{_NAME}[{extra}]'")
        else:
            yield Finding(f"extra {extra}", words)


def _devices() -> Iterator[Finding]:
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    for i, gpu in enumerate(gpus):
        yield Finding(f"GPU {i}", f"{gpu.name}, {format_bytes(gpu.total_memory)}")
    if not gpus:
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        yield Finding("GPUs", f"none that torch can use (torch is built for {built})")
    yield Finding("CPU", pluralize(cores(), "core"))
    resources = resolve(Options()).resources
    share = f"{resources.gpus_per_trial:g} GPU and " if resources.gpus_per_trial else ""
    yield Finding(
        "defaults",
        f"{pluralize(resources.concurrency, 'trial')} at once, each on "
        f"{share}{pluralize(resources.cpus_per_trial, 'core')}",
    )


def _store(root: Path) -> Finding:
    finding = _writable("store", root, "name a folder with --store")
    if finding.problem:
        return finding
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    words = f"{root}: does not exist yet"
    if (root / FORMAT_FILE).is_file():
        try:
            entries = list_store(Store(root)).entries
        except DgkdError as error:
            return Finding("store", str(root), one_line(error))
        stages = sum(entry.kind == "stage" for entry in entries)
        size = format_bytes(sum(entry.size for entry in entries))
        words = f"{root}: {pluralize(stages, 'stage')}, {size}"
    problem = ""
    if free < _LEAST_ROOM:
        problem = (
            f"only {format_bytes(free)} free on its disk; free space with `{_NAME} store --free`"
        )
    return Finding("store", f"{words}; {format_bytes(free)} free on its disk", problem)


def _writable(name: str, folder: Path, way_out: str) -> Finding:
    problem = write_error(folder)
    return Finding(name, str(folder), f"{problem}; {way_out}" if problem else "")


def _ray() -> Finding:
    from dgkd_search.study.ray_tune.ray_session import ray_session

    began = time.monotonic()
    try:
        with ray_session(Resources()):
            seconds = time.monotonic() - began
    except Exception as error:  # many causes keep Ray from starting
        why = one_line(error, 200, with_class=True)
        return Finding("Ray", "does not start", why)
    return Finding("Ray", f"starts in {seconds:.0f} s; listens on 127.0.0.1 only")
