"""Nothing finished is lost, at whatever moment a process ends and whichever write fails.

Every change to the disk is tested; see ``crashing``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers.crashing import FAULTS, Action, Fault, Outcome, points
from helpers.stores import WEIGHTS, key, logits, meta, outputs_of

from dgkd_search.config.options import Options
from dgkd_search.errors import InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.leases import Lease
from dgkd_search.store.store import Store
from dgkd_search.utils.files import sync_folder, write_bytes
from dgkd_search.utils.hashing import from_checksummed_json

NEWER = WEIGHTS[::-1]


@dataclass(frozen=True)
class Scenario:
    """Actions on a folder, and what must hold after any number of them.

    Attributes:
        before: creates the initial folder.
        check: called with the folder and the number of actions that have returned.
        stubborn: whether to continue after a failed action.
    """

    before: Callable[[Path], object]
    actions: Callable[[Path], Sequence[Action]]
    check: Callable[[Path, int], object]
    stubborn: bool = True


def stage(store: Store, name: str = "a") -> bytes | None:
    """Check that a stage is missing or has the weights that were put."""
    entry = store.get(key(name))
    if entry is not None:
        assert entry.meta["rows"] == meta(name)["rows"]
    return entry.tensors if entry is not None else None


def partial(store: Store, name: str = "a") -> bytes | None:
    entry = store.get_partial(key(name))
    return entry.tensors if entry is not None else None


def training(root: Path) -> list[Action]:
    """Train a stage from its first checkpoint to its end, under its lock."""
    store = Store(root)
    lock = store.lock(key("a"))
    return [
        lock.acquire,
        lambda: store.put_partial(key("a"), WEIGHTS, meta("a")),
        lambda: store.put_partial(key("a"), NEWER, meta("a")),
        lambda: store.put(key("a"), WEIGHTS, meta("a")),
        lock.release,
    ]


def check_training(root: Path, done: int) -> None:
    store = Store(root)
    finished = stage(store)
    assert finished in (None, WEIGHTS)
    if done >= 4:
        assert finished is not None
    if finished is None:
        now = partial(store)
        known: dict[int, list[bytes | None]] = {
            0: [None],
            1: [None, WEIGHTS],
            2: [WEIGHTS, NEWER],
            3: [NEWER],
        }
        assert now in known[done]
    assert store.notes == [], "nothing half written is visible, so nothing is set aside"
    with store.lock(key("a")):  # whoever held it is gone
        store.put_partial(key("a"), NEWER, meta("a"))
        store.put(key("a"), WEIGHTS, meta("a"))
    assert stage(store) == WEIGHTS
    assert partial(store) is None


def outputs(root: Path, limit: int | None = None) -> list[Action]:
    store = Store(root, limit)
    user = store.lease("trial")

    def put(bank: int, user: Lease = user) -> None:  # keeps a reference to the lease
        if not store.outputs.put(outputs_of("x", bank), logits(bank)):
            raise OSError("no room for it, which is no error")

    if limit is None:
        user.add([key("x")])  # else, on a full disk, the first outputs would rightly be removed
    return [lambda: put(0), lambda: store.outputs.get(outputs_of("x", 0)), lambda: put(1)]


def check_outputs(root: Path, done: int, kept: bool = True) -> None:
    store = Store(root)
    for bank, known in ((0, done >= 1), (1, done >= 3)):
        found = store.outputs.get(outputs_of("x", bank))
        assert found is not None or not (known and kept)
        assert found is None or (found == logits(bank)).all()
        assert store.outputs.put(outputs_of("x", bank), logits(bank))
        assert store.outputs.get(outputs_of("x", bank)) is not None
    assert store.notes == []


def damage(root: Path) -> None:
    store = Store(root)
    store.put(key("a"), WEIGHTS, meta("a"))
    (root / "stages" / key("a")[:2] / key("a") / "weights.safetensors").write_bytes(NEWER)


def check_mended(root: Path, done: int) -> None:
    store = Store(root)
    assert stage(store) is None
    store.put(key("a"), WEIGHTS, meta("a"))
    assert stage(store) == WEIGHTS


def leasing(root: Path) -> list[Action]:
    store = Store(root)
    with_keys = store.lease("search", "run")
    return [
        lambda: with_keys.add([key("a")]),
        lambda: with_keys.add([key("b")]),
        with_keys.release,
    ]


def check_leases(root: Path, done: int) -> None:
    store = Store(root)
    users = store.users()
    assert all(not user.live for user in users)
    keys = [sorted(user.keys) for user in users]
    one, two = [key("a")], sorted([key("a"), key("b")])
    known = {0: [[], [one], [two]], 1: [[one], [two]], 2: [[two]], 3: [[two]]}
    assert keys in known[min(done, 3)]


def running(root: Path) -> list[Action]:
    """Write a run folder from its creation to its last result."""
    run = RunFolder(root / "run")
    stack = run.begin()
    definition = SearchDefinition.of(Options(budget=3), "f" * 32, None)
    return [
        stack.__enter__,
        lambda: run.write_definition(definition),
        lambda: write_bytes(run.trials, b"first"),
        lambda: write_bytes(run.trials, b"second"),
        lambda: stack.__exit__(None, None, None),
    ]


def check_run(root: Path, done: int) -> None:
    run = RunFolder(root / "run")
    if run.config.exists():
        assert "budget: 3" in run.config.read_text()
        assert from_checksummed_json(run.definition.read_bytes(), "it")["data"] == "f" * 32
    assert done < 2 or run.config.exists()
    table = run.trials.read_bytes() if run.trials.exists() else None
    tables: dict[int, list[bytes | None]] = {
        0: [None],
        1: [None],
        2: [None, b"first"],
        3: [b"first", b"second"],
    }
    assert table in tables.get(done, [b"second"])
    if run.config.exists():
        with run.hold():  # whoever held it is gone
            pass
        with pytest.raises(InputError, match="holds a run already"), run.begin():
            pass
    else:
        with run.begin():
            run.write_definition(SearchDefinition.of(Options(budget=3), "f" * 32, None))
        assert run.config.exists()


SCENARIOS = {
    "training": Scenario(Store, training, check_training),
    "outputs": Scenario(Store, outputs, check_outputs),
    "scarce room": Scenario(
        Store,
        lambda root: outputs(root, 1500),  # room for one of the two
        lambda root, done: check_outputs(root, done, kept=False),
    ),
    "damage": Scenario(damage, lambda root: [lambda: Store(root).get(key("a"))], check_mended),
    "leases": Scenario(Store, leasing, check_leases),
    "new store": Scenario(
        lambda root: None,
        lambda root: [lambda: Store(root).put(key("a"), WEIGHTS, meta("a"))],
        lambda root, done: Store(root).put(key("a"), WEIGHTS, meta("a")),
    ),
    "run": Scenario(lambda root: None, running, check_run, stubborn=False),
}


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory if the system has one, as flushing to disk takes time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_point(memory: Path, name: str, fault: Fault, thorough: bool) -> None:
    """Test some of the faults at each change; with ``--thorough``, all of them."""
    first, step = (0, 1) if thorough else (FAULTS.index(fault) % 3, 3)
    scenario = SCENARIOS[name]
    numbers = itertools.count()

    def fresh() -> Path:
        root = memory / str(next(numbers))
        root.mkdir()
        scenario.before(root)
        return root

    met = 0
    for outcome, root in points(fault, fresh, scenario.actions, scenario.stubborn, first, step):
        assert outcome.error is None, outcome
        met += 1
        check(scenario, outcome, root)
    assert met * step >= 3


def check(scenario: Scenario, outcome: Outcome, root: Path) -> None:
    __tracebackhide__ = True
    # After a failed action, others may have returned: only the actions before it are known to be
    # complete.
    done = outcome.done if outcome.failed is None else outcome.failed
    scenario.check(root, done)


@pytest.mark.parametrize("durable", [False, True])
def test_the_harness_finds_what_was_not_flushed(tmp_path: Path, durable: bool) -> None:
    """Otherwise, the tests above could pass for any code."""

    def careless(root: Path) -> list[Action]:
        def write() -> None:
            descriptor = os.open(root / "new", os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, b"12345678")
            os.close(descriptor)

        return [
            write,
            lambda: (root / "new").rename(root / "file"),
            lambda: sync_folder(root) if durable else None,
            (root / "end").mkdir,
        ]

    def fresh() -> Path:
        root = tmp_path / "root"
        root.mkdir()
        return root

    def last(kind: str) -> bytes | None:
        """Return the content of the file after the last change has met its fault."""
        *_, found = [
            (root / "file").read_bytes() if (root / "file").exists() else None
            for _, root in points(Fault(kind), fresh, careless)
        ]
        return found

    assert last("before") == last("after") == b"12345678"
    assert last("power") == (b"" if durable else None)
    assert last("torn") == (b"1234" if durable else None)
