"""Checks of clusters, with made-up nodes."""

from __future__ import annotations

import socket
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dgkd_search.errors import InputError
from dgkd_search.study.config import Resources
from dgkd_search.study.ray_tune import cluster
from dgkd_search.study.ray_tune.cluster import (
    _node_problems,
    check_nodes,
    check_reachable,
    describe_cluster,
    join_error,
    ready,
    watch_cluster,
)


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources, "NodeManagerHostname": "a"}


NODES = [node(CPU=4.0, GPU=1.0), node(CPU=1.0), node(alive=False, CPU=64.0, GPU=8.0)]


def test_a_cluster_is_described_with_the_room_that_it_has() -> None:
    assert describe_cluster(Resources(5), NODES) == "connected to 2 nodes with 5 CPUs and 1 GPUs"
    said = describe_cluster(Resources(5, cpus_per_trial=2), NODES)
    assert said.endswith("; they have room for 2 trials at once")
    assert describe_cluster(Resources(4, gpus_per_trial=0.25), NODES).endswith("1 GPUs")
    assert "room for 4 trials" in describe_cluster(Resources(8, gpus_per_trial=0.25), NODES)
    shared = [node(CPU=16.0, GPU=4.0)]  # two shares of 0.6 don't fit one GPU
    assert "room for 4 trials" in describe_cluster(Resources(6, gpus_per_trial=0.6), shared)
    assert describe_cluster(Resources(2, gpus_per_trial=2), shared).endswith("4 GPUs")


def test_a_trial_that_no_node_carries_is_refused() -> None:
    check_nodes(Resources(1, cpus_per_trial=4, gpus_per_trial=1), NODES)
    with pytest.raises(InputError, match=r"--gpus-per-trial 2: the largest node has 1 GPUs"):
        check_nodes(Resources(1, gpus_per_trial=2), NODES)
    # Each node lacks what the other one has.
    apart = [node(CPU=16.0), node(CPU=2.0, GPU=1.0)]
    with pytest.raises(InputError, match=r"--cpus-per-trial 4 with --gpus-per-trial 1: no single"):
        check_nodes(Resources(1, cpus_per_trial=4, gpus_per_trial=1), apart)
    with pytest.raises(InputError, match=r"--cpus-per-trial 5: the largest node has 4 CPUs"):
        check_nodes(Resources(1, cpus_per_trial=5), NODES)


def test_a_port_where_nothing_listens_is_no_cluster() -> None:
    check_reachable("auto")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.listen()
        check_reachable(f"127.0.0.1:{port}")
    for address in (f"127.0.0.1:{port}", "127.0.0.1:x", "127.0.0.1:99999"):
        with pytest.raises(InputError, match=f"--address {address}: no Ray cluster answers"):
            check_reachable(address)


def test_a_cluster_that_lets_nobody_in_is_told_apart_from_none() -> None:
    said = str(join_error("head:6379", ConnectionError("Failed\nto connect")))
    assert "Ray can't join (Failed to connect)" in said
    assert "`ray start --address head:6379 --num-cpus 0`" in said
    assert "RAY_AUTH_MODE=token" in said
    assert "no Ray cluster answers" in str(join_error("auto", ConnectionError("none")))


def test_a_node_says_what_it_lacks(tmp_path: Path) -> None:
    here = version("dgkd-search")
    mark = tmp_path / "mark"
    assert _node_problems(here, [str(tmp_path)], str(mark), []) == [
        f"has its own {tmp_path}; give --store a folder that all nodes share"
    ]
    mark.touch()
    assert _node_problems(here, [str(tmp_path)], str(mark), []) == []
    gone = [str(tmp_path), str(tmp_path / "gone")]
    found = _node_problems("9.9", gone, str(mark), ["nowhere_to_be_found"])
    assert [problem.split(" ")[0] for problem in found] == ["has", "can't", "--models"]
    assert "the driver 9.9" in found[0]
    assert "give --store a folder that all nodes share" in found[1]
    assert "No module named 'nowhere_to_be_found'" in found[2]


def test_one_machine_has_nothing_to_say() -> None:
    assert ready(Resources(), (), "") == "Ray is running"


def test_a_head_that_goes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_EVERY", 0.02)
    gone = threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        context = SimpleNamespace(gcs_address=address)
        ray = SimpleNamespace(get_runtime_context=lambda: context)
        monkeypatch.setitem(sys.modules, "ray", ray)
        told: list[str] = []

        def notice(head: str) -> None:
            told.append(head)
            gone.set()

        with watch_cluster(Resources(address=address), notice):
            assert not gone.wait(0.3), "it answers"
            server.close()
            assert gone.wait(5)
    assert told == [address]
    with watch_cluster(Resources(address=address), notice):
        pass  # ended before the check
    with watch_cluster(Resources(), notice):
        time.sleep(0.3)
    assert told == [address]


def test_every_node_that_lacks_something_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All of them, although one of the four nodes lacks nothing."""
    answers: dict[str, list[str] | Exception] = {
        "first": ["has no store"],
        "second": [],
        "third": RuntimeError("it is lost"),
    }

    class Look:
        def __init__(self, name: str = "") -> None:
            self.name = name

        def options(self, scheduling_strategy: str) -> Look:
            return Look(scheduling_strategy)

        def remote(self, *_: object) -> str:
            return self.name

    def get(name: str) -> list[str]:
        answer = answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    import ray

    monkeypatch.setattr(ray, "remote", lambda **_: lambda _: Look())
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([*answers], ["fourth"]))
    monkeypatch.setattr(ray, "get", get)
    strategies = "ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy"
    monkeypatch.setattr(strategies, lambda name, soft: name)
    names = [*answers, "fourth"]
    nodes = [node(CPU=1.0) | {"NodeID": name, "NodeManagerHostname": name} for name in names]
    with pytest.raises(InputError) as error:
        cluster._check_setup(Resources(1), nodes, [tmp_path], [])
    first, third, fourth = error.value.messages
    assert first == "--address: node first: has no store"
    assert third.startswith("--address: node third: can't work (it is lost); install dgkd-search ")
    assert fourth.startswith("--address: node fourth: hasn't answered for ")
    assert [*tmp_path.iterdir()] == []
