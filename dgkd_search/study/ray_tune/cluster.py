"""A Ray cluster that runs already: whether it answers, what it has, whether its nodes can work."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dgkd_search.errors import InputError, one_line
from dgkd_search.models import load_families
from dgkd_search.study.config import Resources
from dgkd_search.utils.files import remove_file, write_bytes
from dgkd_search.utils.formatting import pluralize

_PATIENCE = 10  # seconds for a cluster to answer
_LOOKING = 180.0  # seconds for a node to look around: its first worker imports what trials need
_EVERY = 5.0  # seconds between two looks at the head
_MISSES = 4  # of them in a row after which the cluster is gone

Nodes = Sequence[Mapping[str, Any]]


@contextlib.contextmanager
def watch_cluster(resources: Resources, gone: Callable[[str], None]) -> Iterator[None]:
    """Look, beside what is done, whether the head of the cluster still answers.

    Ray's calls don't return without it, and after a minute Ray ends the process by itself.

    Args:
        gone: is told the head's address when it hasn't answered several times in a row; on a
            thread of its own.
    """
    if resources.address is None:
        yield
        return
    import ray

    address, over = str(ray.get_runtime_context().gcs_address), threading.Event()

    def watch() -> None:
        missed = 0
        while not over.wait(_EVERY):
            try:
                _connect(address, _EVERY / 2)
                missed = 0
            except socket.gaierror:
                continue  # names, not the head, are what is out of order
            except OSError:
                missed += 1
            if missed >= _MISSES and not over.is_set():
                gone(address)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def check_reachable(address: str) -> None:
    """Look whether anything listens there; Ray itself tries for minutes.

    Raises:
        InputError: nothing does.
    """
    if ":" not in address:
        return  # "auto": found, or not, in Ray's own files
    try:
        _connect(address, _PATIENCE)
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from None


def join_error(address: str, error: Exception) -> InputError:
    """What to say where Ray can't join a cluster."""
    if ":" not in address:
        return _unreachable(address, error)
    return InputError(
        f"--address {address}: Ray can't join ({one_line(error, 120)}); the search must "
        f"run on a node of the cluster (`ray start --address {address} --num-cpus 0` makes this "
        "machine one) and, if the cluster asks for a token, with RAY_AUTH_MODE=token and that token"
    )


def check_nodes(resources: Resources, nodes: Nodes) -> None:
    """A trial needs one node that carries it; more together are of no use.

    Args:
        nodes: from ``ray.nodes``.

    Raises:
        InputError: there is none.
    """
    for option, name, share in (
        ("--gpus-per-trial", "GPU", resources.gpus_per_trial),
        ("--cpus-per-trial", "CPU", float(resources.cpus_per_trial)),
    ):
        most = max((has.get(name, 0.0) for has in _alive(nodes)), default=0.0)
        if share > most:
            raise InputError(
                f"{option} {share:g}: the largest node has {most:g} {name}s; give at most that many"
            )
    if not any(_room(has, resources) for has in _alive(nodes)):
        raise InputError(
            f"--cpus-per-trial {resources.cpus_per_trial} with --gpus-per-trial "
            f"{resources.gpus_per_trial:g}: no single node has both; give less of one"
        )


def ready(resources: Resources, folders: Sequence[Path], modules: Sequence[str]) -> str:
    """What Ray has, once every node of a cluster has said that it can work.

    Args:
        folders: that a node must be able to use: prepared data, store.
        modules: of the user's own, that it must be able to import.

    Raises:
        InputError: what is missing, node by node.
    """
    if resources.address is None:
        return "Ray runs"
    import ray

    nodes = ray.nodes()
    _look_around(resources, nodes, folders, modules)
    return describe_cluster(resources, nodes)


def describe_cluster(resources: Resources, nodes: Nodes) -> str:
    """What a cluster has, and how many trials find room in it where not all do."""
    total = {name: sum(has.get(name, 0.0) for has in _alive(nodes)) for name in ("CPU", "GPU")}
    room = sum(_room(has, resources) for has in _alive(nodes))
    text = pluralize(len(_alive(nodes)), "node")
    text = f"connected to {text} with {total['CPU']:g} CPUs and {total['GPU']:g} GPUs"
    if room < resources.concurrency:
        text += f"; they have room for {pluralize(room, 'trial')} at once"
    return text


def _look_around(
    resources: Resources, nodes: Nodes, folders: Sequence[Path], modules: Sequence[str]
) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {}
    # Another folder of the same name is as bad as none.
    mark = folders[-1] / f".seen-{secrets.token_hex(8)}"
    write_bytes(mark, b"")
    for node in nodes:
        if node["Alive"] and _room(node["Resources"], resources):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = look.options(scheduling_strategy=there).remote(
                version("dgkd-search"), [str(folder) for folder in folders], str(mark), modules
            )
            asked[answer] = node
    try:
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=_LOOKING)
    finally:
        remove_file(mark)
    problems: list[str] = []
    for answer, node in asked.items():
        name = node.get("NodeManagerHostname") or node.get("NodeManagerAddress")
        if answer not in answered:
            missing = [f"hasn't answered for {_LOOKING:.0f} s; look at it, or take it out"]
        else:
            try:
                missing = ray.get(answer)
            except Exception as error:
                last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                missing = [
                    f"can't work ({last[:200]}); install dgkd-search {version('dgkd-search')}"
                ]
        problems += [f"--address: node {name}: {problem}" for problem in missing]
    if problems:
        raise InputError(problems)


def _look(wanted: str, folders: Sequence[str], mark: str, modules: Sequence[str]) -> list[str]:
    """What is missing on this node; runs there."""
    problems = []
    if version("dgkd-search") != wanted:
        here = version("dgkd-search")
        problems.append(f"has dgkd-search {here}, the driver {wanted}; install the same everywhere")
    for folder in folders:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            problems.append(
                f"can't read and write {folder}; give --store a folder that all nodes share"
            )
    if not problems and not Path(mark).exists():
        problems.append(
            f"has a {Path(mark).parent} of its own; give --store a folder that all nodes share"
        )
    for module in modules:
        try:
            load_families(module)
        except InputError as error:
            problems.append(f"{error.messages[0]}, on every node")
    return problems


def _alive(nodes: Nodes) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in nodes if node["Alive"]]


def _room(has: Mapping[str, float], resources: Resources) -> int:
    """Trials that a node carries."""
    share = resources.gpus_per_trial
    room = int(has.get("CPU", 0.0) / resources.cpus_per_trial)
    if not share:
        return room
    gpus = has.get("GPU", 0.0)
    # A trial's share lies on one GPU.
    return min(room, int(gpus / share) if share >= 1 else int(gpus) * int(1 / share))


def _connect(address: str, timeout: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()


def _unreachable(address: str, error: Exception) -> InputError:
    return InputError(
        f"--address {address}: no Ray cluster answers ({one_line(error, 120)}); start one with "
        "`ray start --head` and name its HOST:PORT, or auto on a node of it"
    )
