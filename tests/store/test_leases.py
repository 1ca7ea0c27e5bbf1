"""Users of a store are known as long as their process lives, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dgkd_search.store.leases import Lease, StoreUser, forget_searches, store_users
from dgkd_search.utils.hashing import to_checksummed_json, to_json

HOLDER = """
import sys
from pathlib import Path
from dgkd_search.store.leases import Lease
lease = Lease(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
lease.add(["a", "b"])
print("held", *sorted({"torch", "ray", "numpy"} & set(sys.modules)), flush=True)
sys.stdin.read()
lease.release()
"""


@contextmanager
def holder(folder: Path, kind: str, name: str = "it") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lease on a and b until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, kind, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"  # and no heavy package is loaded
        yield process
    finally:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["trial", "search"])
def test_a_user_in_another_process_is_live(tmp_path: Path, kind: str) -> None:
    before = time.time()
    with holder(tmp_path, kind):
        for _ in range(2):  # reading changes nothing
            (user,) = store_users(tmp_path)
            assert user == StoreUser(kind, "it", user.since, frozenset("ab"), True)
            assert before <= user.since <= time.time()


@pytest.mark.parametrize("killed", [True, False])
def test_a_trials_record_goes_with_it(tmp_path: Path, killed: bool) -> None:
    with holder(tmp_path, "trial") as process:
        if killed:
            process.kill()
        process.communicate()
    assert store_users(tmp_path) == []
    assert names(tmp_path) == []


@pytest.mark.parametrize("killed", [True, False])
def test_a_searchs_record_stays(tmp_path: Path, killed: bool) -> None:
    with holder(tmp_path, "search", "runs/first") as process:
        if killed:
            process.kill()
        process.communicate()
    for _ in range(2):
        (user,) = store_users(tmp_path)
        assert (user.name, user.keys, user.live) == ("runs/first", frozenset("ab"), False)
    (record,) = names(tmp_path)
    assert record.endswith(".json")


def test_keys_are_added_to_a_lease(tmp_path: Path) -> None:
    with Lease(tmp_path / "users", "trial") as lease:
        assert store_users(tmp_path / "users") == []  # nothing is needed yet
        for added, all_of_them in (("a", "a"), ("bc", "abc"), ("a", "abc"), ("", "abc")):
            lease.add(added)
            (user,) = store_users(tmp_path / "users")
            assert user.keys == frozenset(all_of_them)
    assert store_users(tmp_path / "users") == []
    assert names(tmp_path / "users") == []


def test_a_lease_without_keys_is_seen_once_it_says_so(tmp_path: Path) -> None:
    with Lease(tmp_path, "search", "run") as lease:
        lease.add(())
        (user,) = store_users(tmp_path)
        assert (user.keys, user.live) == (frozenset(), True)


def test_a_lease_without_a_name_names_its_process(tmp_path: Path) -> None:
    with Lease(tmp_path, "trial") as lease:
        lease.add("a")
        assert store_users(tmp_path)[0].name.endswith(f":{os.getpid()}")


def test_the_earliest_user_comes_first(tmp_path: Path) -> None:
    leases = [Lease(tmp_path, "search", name) for name in "cab"]
    for lease in reversed(leases):
        lease.add("x")
    assert [user.name for user in store_users(tmp_path)] == list("cab")
    for lease in leases:
        lease.release()


GOOD = {"kind": "search", "name": "n", "since": 1.0, "keys": ["a"]}
DAMAGED = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "no keys": to_checksummed_json({k: v for k, v in GOOD.items() if k != "keys"}),
    "odd keys": to_checksummed_json({**GOOD, "keys": 3}),
    "odd time": to_checksummed_json({**GOOD, "since": "yesterday"}),
    "time without end": json.dumps({**GOOD, "since": float("inf")}).encode(),
    "no time": json.dumps({**GOOD, "since": float("nan")}).encode(),
    "too large a time": to_checksummed_json({**GOOD, "since": 10**400}),
    "of another kind": to_checksummed_json({**GOOD, "kind": "guest"}),
    "too deep": b"[" * 100_000,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damaged_records_are_passed_over(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.json").write_bytes(text)
    (tmp_path / "folder.json").mkdir()
    with Lease(tmp_path, "trial") as lease:
        lease.add("a")
        assert [user.kind for user in store_users(tmp_path)] == ["trial"]
        assert forget_searches(tmp_path, ()) == 0
    assert (tmp_path / "x.json").read_bytes() == text


def test_a_record_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """A temporary record has no lock of its name, so it looks like that of a dead trial."""
    writing = tmp_path / ".tmp-0123456789ab-0123.json"
    writing.write_bytes(to_json({**GOOD, "kind": "trial"}))
    assert store_users(tmp_path) == []
    assert writing.exists()


def test_looking_never_disturbs_those_who_come_and_go(tmp_path: Path) -> None:
    ended = threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not ended.is_set():
                store_users(tmp_path)
        except BaseException as error:
            failures.append(error)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(40):
            with Lease(tmp_path, "trial") as lease:
                lease.add("a")
                assert [user.live for user in store_users(tmp_path)] == [True]
                lease.add("b")
                assert [user.keys for user in store_users(tmp_path)] == [frozenset("ab")]
    finally:
        ended.set()
        for watcher in watchers:
            watcher.join()
    assert failures == []
    assert store_users(tmp_path) == []


def test_records_of_another_account_are_read_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holder(tmp_path, "trial") as process:
        process.kill()
        process.communicate()
    (tmp_path / "x.json").write_bytes(
        to_checksummed_json({**GOOD, "kind": "trial"})
    )  # of a dead trial

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert store_users(tmp_path) == []
    (tmp_path / "y.json").write_bytes(to_checksummed_json({**GOOD, "kind": "trial"}))
    (tmp_path / "y.lock").mkdir()  # cannot be locked, so it may be held
    assert [user.live for user in store_users(tmp_path)] == [True]


def test_ended_searches_that_left_nothing_are_forgotten(tmp_path: Path) -> None:
    for name, keys in (("gone", "ab"), ("left", "bc"), ("none", "")):
        with Lease(tmp_path, "search", name) as lease:
            lease.add(keys)
    # A search that ended before it used anything leaves no record.
    assert [user.name for user in store_users(tmp_path)] == ["gone", "left"]
    with Lease(tmp_path, "search", "live") as lease, Lease(tmp_path, "trial", "now") as trial:
        lease.add("a")
        trial.add("a")
        assert forget_searches(tmp_path, {"c"}) == 1
        assert [user.name for user in store_users(tmp_path)] == ["left", "live", "now"]
        assert forget_searches(tmp_path, {"c"}) == 0
