"""Checks of an existing Ray cluster: whether it is reachable, large enough, and set up."""

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
_CHECK_TIMEOUT = 180.0  # seconds for a node to check itself; its first worker has slow imports
_EVERY = 5.0  # seconds between two connections to the head
_MISSES = 4  # failed connections in a row after which the cluster counts as gone

Nodes = Sequence[Mapping[str, Any]]


@contextlib.contextmanager
def watch_cluster(resources: Resources, gone: Callable[[str], None]) -> Iterator[None]:
    """Watch in the background whether the head of the cluster still answers.

    Without the head, Ray's calls don't return, and after a minute Ray ends the process.

    Args:
        gone: called in the background thread with the head's address after several failed
            connections in a row.
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
                continue  # name resolution fails, not the head
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
    """Check that something listens at an address; Ray itself would try for minutes.

    Raises:
        InputError: nothing listens there.
    """
    if ":" not in address:
        return  # "auto": Ray looks it up in its own files
    try:
        _connect(address, _PATIENCE)
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from None


def join_error(address: str, error: Exception) -> InputError:
    """Return the error for a cluster that Ray can't join."""
    if ":" not in address:
        return _unreachable(address, error)
    return InputError(
        f"--address {address}: Ray can't join ({one_line(error, 120)}); the search must "
        f"run on a node of the cluster (`ray start --address {address} --num-cpus 0` makes this "
        "machine one) and, if the cluster asks for a token, with RAY_AUTH_MODE=token and that token"
    )


def check_nodes(resources: Resources, nodes: Nodes) -> None:
    """Check that at least one node has the resources of a trial.

    Args:
        nodes: from ``ray.nodes``.

    Raises:
        InputError: no node has them.
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
    """Check every node of the cluster, then describe what Ray has.

    Args:
        folders: folders that each node must be able to use: prepared data, store.
        modules: the user's modules that each node must be able to import.

    Raises:
        InputError: nodes are not set up; one message per problem.
    """
    if resources.address is None:
        return "Ray is running"
    import ray

    nodes = ray.nodes()
    _check_setup(resources, nodes, folders, modules)
    return describe_cluster(resources, nodes)


def describe_cluster(resources: Resources, nodes: Nodes) -> str:
    """Describe the size of a cluster; also how many trials fit, if fewer than the concurrency."""
    total = {name: sum(has.get(name, 0.0) for has in _alive(nodes)) for name in ("CPU", "GPU")}
    room = sum(_room(has, resources) for has in _alive(nodes))
    text = pluralize(len(_alive(nodes)), "node")
    text = f"connected to {text} with {total['CPU']:g} CPUs and {total['GPU']:g} GPUs"
    if room < resources.concurrency:
        text += f"; they have room for {pluralize(room, 'trial')} at once"
    return text


def _check_setup(
    resources: Resources, nodes: Nodes, folders: Sequence[Path], modules: Sequence[str]
) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0, max_retries=0)(_node_problems)
    asked = {}
    # A marker file detects a node that has another folder under the same path.
    mark = folders[-1] / f".seen-{secrets.token_hex(8)}"
    write_bytes(mark, b"")
    for node in nodes:
        if node["Alive"] and _room(node["Resources"], resources):
            on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = check.options(scheduling_strategy=on_node).remote(
                version("dgkd-search"), [str(folder) for folder in folders], str(mark), modules
            )
            asked[answer] = node
    try:
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=_CHECK_TIMEOUT)
    finally:
        remove_file(mark)
    problems: list[str] = []
    for answer, node in asked.items():
        name = node.get("NodeManagerHostname") or node.get("NodeManagerAddress")
        if answer not in answered:
            missing = [f"hasn't answered for {_CHECK_TIMEOUT:.0f} s; check it, or remove it"]
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


def _node_problems(
    wanted: str, folders: Sequence[str], mark: str, modules: Sequence[str]
) -> list[str]:
    """Return the problems of the node on which this runs."""
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
            f"has its own {Path(mark).parent}; give --store a folder that all nodes share"
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
    """Return the number of trials that fit on a node."""
    share = resources.gpus_per_trial
    room = int(has.get("CPU", 0.0) / resources.cpus_per_trial)
    if not share:
        return room
    gpus = has.get("GPU", 0.0)
    # A fraction of a GPU is always on a single GPU.
    return min(room, int(gpus / share) if share >= 1 else int(gpus) * int(1 / share))


def _connect(address: str, timeout: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()


def _unreachable(address: str, error: Exception) -> InputError:
    return InputError(
        f"--address {address}: no Ray cluster answers ({one_line(error, 120)}); start one with "
        "`ray start --head` and name its HOST:PORT, or auto on a node of it"
    )
