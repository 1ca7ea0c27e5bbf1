from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.stages import StagesOf
from torch import Tensor, nn

from dgkd_search.data import PreparedData
from dgkd_search.distillation import teacher_outputs as supply_module
from dgkd_search.distillation.teacher_outputs import ForwardCount, TeacherOutputs
from dgkd_search.errors import StageFailed
from dgkd_search.store.store import Store
from dgkd_search.training.batches import DeviceData
from dgkd_search.training.spec import OutputsSpec, StageSpec
from dgkd_search.training.teachers import CachedTeachers, OnlineTeachers, Teachers, compute_outputs
from dgkd_search.training.trainer import Trainer

IMAGES = 100


@pytest.fixture(scope="module")
def data(digits: PreparedData) -> DeviceData:
    return DeviceData(digits, torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@dataclass
class School:
    """A teacher and an assistant, both teachers of a learner; counts loads and forward passes.

    Attributes:
        keys: keys of the teacher and the assistant.
        loads: keys of the models that were loaded.
        forwards: number of images that each teacher was run on.
    """

    specs: tuple[StageSpec, ...]
    models: dict[str, nn.Module]
    data: DeviceData
    loads: list[str]
    forwards: dict[str, int]

    @property
    def keys(self) -> list[str]:
        return list(self.models)

    def load(self, key: str) -> nn.Module:
        self.loads.append(key)
        model = copy.deepcopy(self.models[key])

        def count(_: nn.Module, args: tuple[Tensor, ...], __: Tensor) -> None:
            self.forwards[key] += len(args[0])

        model.register_forward_hook(count)
        return model

    def supply(self, spec: StageSpec, store: Store, forwards: ForwardCount | None = None) -> Any:
        return TeacherOutputs(spec, self.data, store, self.load, forwards or ForwardCount())

    def train(self, spec: StageSpec, store: Store) -> tuple[Trainer, ForwardCount]:
        """Train a learner as a trial does."""
        forwards = ForwardCount()
        supply = self.supply(spec, store, forwards)
        learner = Trainer(spec, self.data, supply.teachers)
        while not learner.finished:
            assert list(supply.ready(learner.bank)) == []
            supply.taught(learner.train_epoch().taught)
        return learner, forwards


@pytest.fixture
def school(stages_of: StagesOf, trained: tuple[Trainer, Trainer], data: DeviceData) -> School:
    # The models weren't trained by these specs; only the keys matter.
    stages = stages_of("resnet20", "resnet14", "resnet8")
    specs = stages_of("resnet20", "resnet14", "resnet8", augment="crop+flip", epochs=4)
    assert specs[0].key != stages[0].key
    keys = [spec.key for spec in specs[:2]]
    models = dict(zip(keys, (learner.model for learner in trained), strict=True))
    return School(specs, models, data, [], dict.fromkeys(keys, 0))


def learner_of(school: School, position: int = 2, **changes: Any) -> StageSpec:
    """Return a learner's stage with 4 epochs on 2 banks of views, and the given changes."""
    spec = school.specs[position]
    recipe: dict[str, Any] = {"views": 2}
    recipe |= {k: changes.pop(k) for k in ("augment", "views", "epochs") if k in changes}
    return replace(spec, recipe=replace(spec.recipe, **recipe), **changes)


def arrays(store: Store) -> list[Path]:
    return list(store.root.glob("outputs/*/*/logits.npy"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Records the bank of each call of ``compute_outputs``."""
    banks: list[int] = []

    def count(*args: Any) -> Tensor:
        banks.append(args[3])
        return compute_outputs(*args)

    monkeypatch.setattr(supply_module, "compute_outputs", count)
    return banks


def test_outputs_are_computed_once_for_all_stages_learners_and_epochs(
    school: School, store: Store, computed: list[int]
) -> None:
    specs = [learner_of(school, 1), learner_of(school), learner_of(school, train_seed=1)]
    learners, forwards = zip(*(school.train(spec, store) for spec in specs), strict=True)
    assert computed == [0, 1, 0, 1], "the teacher for the assistant, the assistant for the student"
    assert school.forwards == dict.fromkeys(school.keys, 2 * IMAGES)
    assert [f.computed for f in forwards] == [2 * IMAGES, 2 * IMAGES, 0]
    assert [f.seconds > 0 for f in forwards] == [True, True, False]
    taught = [sum(row.taught for row in learner.rows) for learner in learners]
    assert taught == [4 * IMAGES, 8 * IMAGES, 8 * IMAGES]
    assert len(arrays(store)) == 4
    assert school.loads == school.keys, "nobody loads a model whose outputs are there"


@pytest.mark.parametrize(
    ("augment", "views", "banks"),
    [
        ("crop+flip", 1, [0]),
        ("crop", 3, [0, 1, 2]),
        ("flip", 0, [0, 1, 2, 3]),
        ("none", 3, [0]),
    ],
)
def test_as_many_banks_as_views_and_one_without_augmentation(
    school: School, store: Store, computed: list[int], augment: str, views: int, banks: list[int]
) -> None:
    _, forwards = school.train(learner_of(school, 1, augment=augment, views=views), store)
    assert computed == banks
    assert len(arrays(store)) == len(banks)
    assert forwards.computed == len(banks) * IMAGES


def test_another_augmentation_or_precision_has_its_own_outputs(
    school: School, store: Store, computed: list[int]
) -> None:
    spec = learner_of(school, 1, views=1, epochs=1)
    school.train(spec, store)
    school.train(learner_of(school, 1, views=1, epochs=1, augment="crop"), store)
    school.train(replace(spec, numerics=replace(spec.numerics, precision="bf16")), store)
    assert computed == [0, 0, 0]
    school.train(spec, store)
    assert len(computed) == 3


def test_what_is_stored_teaches_without_any_model(school: School, store: Store) -> None:
    spec = learner_of(school)
    first, _ = school.train(spec, store)

    def refuse(key: str) -> nn.Module:
        raise AssertionError(f"{key} was loaded")

    forwards = ForwardCount()
    supply = TeacherOutputs(spec, school.data, Store(store.root), refuse, forwards)
    assert isinstance(supply.teachers, CachedTeachers)
    learner = Trainer(spec, school.data, supply.teachers)
    while not learner.finished:
        assert list(supply.ready(learner.bank)) == []
        learner.train_epoch()
    assert learner.weights() == first.weights()
    assert forwards == ForwardCount()


def test_a_supply_teaches_from_the_outputs_of_its_sources_in_their_order(
    school: School, store: Store
) -> None:
    spec = learner_of(school)
    supply = school.supply(spec, store)
    rows = torch.tensor([99, 0, 5])
    for bank in (0, 1, 0):
        assert list(supply.ready(bank)) == []
        said = supply.teachers.logits([0, 1], torch.empty(0), rows, bank)
        for i, key in enumerate(spec.teachers):
            kept = store.outputs.get(OutputsSpec(key, spec.recipe.augment, bank, spec.numerics))
            assert kept is not None
            assert said[i].tolist() == kept[rows].astype(float).tolist()


class Witness:
    """Compares the learner's teacher logits with the models' outputs on the same images."""

    def __init__(self, told: Teachers, models: list[nn.Module]) -> None:
        self.told, self.models = told, models
        self.banks: list[int] = []

    def __len__(self) -> int:
        return len(self.told)

    def logits(self, which: Sequence[int], images: Tensor, rows: Tensor, bank: int) -> Tensor:
        logits = self.told.logits(which, images, rows, bank)
        with torch.no_grad():
            expected = torch.stack([self.models[i].eval()(images) for i in which])
        assert torch.allclose(logits, expected, rtol=2.0**-10, atol=1e-4)
        self.banks.append(bank)
        return logits


def test_a_learner_is_told_what_its_sources_say_of_the_pictures_it_sees(
    school: School, store: Store
) -> None:
    spec = learner_of(school)
    supply = school.supply(spec, store)
    witness = Witness(supply.teachers, [copy.deepcopy(m) for m in school.models.values()])
    learner = Trainer(spec, school.data, witness)
    while not learner.finished:
        list(supply.ready(learner.bank))
        learner.train_epoch()
    assert witness.banks == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4


def test_a_bank_in_use_is_not_read_again(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[OutputsSpec] = []
    get = store.outputs.get

    def count(spec: OutputsSpec) -> Any:
        asked.append(spec)
        return get(spec)

    school.train(learner_of(school, views=1), store)
    monkeypatch.setattr(store.outputs, "get", count)
    school.train(learner_of(school, views=1), store)
    assert [(spec.teacher, spec.bank) for spec in asked] == [(key, 0) for key in school.keys]


@pytest.mark.parametrize("arrays_kept", [0, 1, 3], ids="room for {}".format)
def test_a_store_at_its_limit_changes_no_result(
    school: School, store: Store, tmp_path: Path, computed: list[int], arrays_kept: int
) -> None:
    spec = learner_of(school)
    expected, _ = school.train(spec, store)
    size = max(file.size for file in store.outputs.files())
    computed.clear()
    narrow = Store(tmp_path / "narrow", arrays_kept * size + size // 2)
    with narrow.lease("trial") as lease:
        lease.add(school.keys)  # so that no outputs are removed
        learner, forwards = school.train(spec, narrow)
    assert learner.weights() == expected.weights()
    assert len(arrays(narrow)) == arrays_kept
    # Two teachers, four epochs, two banks: outputs without room are computed at each bank change.
    assert len(computed) == {0: 8, 1: 7, 3: 5}[arrays_kept]
    assert forwards.computed == len(computed) * IMAGES
    assert sum(school.forwards.values()) == (4 + len(computed)) * IMAGES


def test_outputs_that_make_room_for_others_change_no_result(
    school: School, store: Store, tmp_path: Path, computed: list[int]
) -> None:
    spec = learner_of(school)
    expected, _ = school.train(spec, store)
    size = max(file.size for file in store.outputs.files())
    computed.clear()
    narrow = Store(tmp_path / "narrow", 2 * size + size // 2)  # its outputs are idle
    learner, _ = school.train(spec, narrow)
    assert learner.weights() == expected.weights()
    assert len(arrays(narrow)) == 2
    assert computed == [0, 0, 1, 1] * 2


@pytest.mark.parametrize("damage", ["garbage", "cut", "missing", "other"])
def test_a_damaged_array_is_made_again(
    school: School, store: Store, computed: list[int], damage: str
) -> None:
    spec = learner_of(school, 1, views=1)
    expected, _ = school.train(spec, store)
    (path,) = arrays(store)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        path.write_bytes({"garbage": b"x", "cut": whole[:-10], "other": flipped}[damage])
    computed.clear()
    again = Store(store.root)
    learner, forwards = school.train(spec, again)
    assert learner.weights() == expected.weights()
    assert computed == [0]
    assert forwards.computed == IMAGES
    assert path.read_bytes() == whole, "the same bits"
    assert len(again.notes) == 1
    assert path.parent.name in again.notes[0]


HOLDER = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_elsewhere(lock: str) -> Iterator[subprocess.Popen[str]]:
    """Hold a lock in another process until it reads a line or dies."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def waiting(school: School, store: Store) -> tuple[TeacherOutputs, ForwardCount, OutputsSpec]:
    """The outputs of a learner's two teachers, and the spec of the second one's on bank 1."""
    spec, forwards = learner_of(school), ForwardCount()
    wanted = OutputsSpec(school.keys[1], spec.recipe.augment, 1, spec.numerics)
    return school.supply(spec, store, forwards), forwards, wanted


def test_who_finds_outputs_being_computed_waits_and_reads_them(
    school: School,
    store: Store,
    waiting: tuple[TeacherOutputs, ForwardCount, OutputsSpec],
    computed: list[int],
) -> None:
    supply, forwards, wanted = waiting
    with held_elsewhere(store.outputs.lock(wanted).lock_file) as other:
        rows = supply.ready(1)
        assert [next(rows) for _ in range(3)] == [school.keys[1]] * 3
        assert computed == [1], "the first source's, which nobody computes"
        left = torch.arange(IMAGES * 10).reshape(IMAGES, 10).half()
        store.outputs.put(wanted, left.numpy())
        other.communicate("let go\n")
        assert list(rows) == []
    assert computed == [1]
    assert school.forwards == {school.keys[0]: IMAGES, school.keys[1]: 0}
    assert forwards.computed == IMAGES
    assert supply.teachers is not None
    said = supply.teachers.logits([1], torch.empty(0), torch.tensor([7, 50]), 1)
    assert said[0].tolist() == left[[7, 50]].float().tolist()


def test_outputs_that_came_between_look_and_lock_are_read(
    store: Store,
    waiting: tuple[TeacherOutputs, ForwardCount, OutputsSpec],
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supply, forwards, _ = waiting
    lock, left = store.outputs.lock, torch.ones(IMAGES, 10).half()

    def late(spec: OutputsSpec) -> Any:
        store.outputs.put(spec, left.numpy())
        return lock(spec)

    monkeypatch.setattr(store.outputs, "lock", late)
    assert list(supply.ready(0)) == [] and computed == []
    assert forwards == ForwardCount()
    assert supply.teachers is not None
    assert supply.teachers.logits([0, 1], torch.empty(0), torch.arange(3), 0).eq(1).all()


def test_who_waits_computes_what_a_dead_process_did_not(
    school: School,
    store: Store,
    waiting: tuple[TeacherOutputs, ForwardCount, OutputsSpec],
    computed: list[int],
) -> None:
    supply, _, wanted = waiting
    with held_elsewhere(store.outputs.lock(wanted).lock_file) as other:
        rows = supply.ready(1)
        next(rows)
        other.kill()
        other.wait()
        assert set(rows) <= {school.keys[1]}
    assert computed == [1, 1]
    assert store.outputs.get(wanted) is not None


def test_the_lock_is_free_after_a_failure(
    school: School,
    store: Store,
    waiting: tuple[TeacherOutputs, ForwardCount, OutputsSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supply, _, wanted = waiting
    first = replace(wanted, teacher=school.keys[0])
    held: list[bool] = []

    def fail(*_: Any) -> Tensor:
        with pytest.raises(TimeoutError):
            store.outputs.lock(first).acquire()
        held.append(True)
        raise StageFailed("too large")

    monkeypatch.setattr(supply_module, "compute_outputs", fail)
    failures = []  # keeps frames alive, so that no lock is released by garbage collection
    for _ in range(2):
        with pytest.raises(StageFailed, match="too large") as failure:
            list(supply.ready(1))
        failures.append(failure)
    assert held == [True, True]
    assert arrays(store) == []


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_online_sources_store_nothing_and_are_run_for_what_they_teach(
    school: School, store: Store, computed: list[int], drop: float
) -> None:
    spec = learner_of(school, outputs="online")
    assert spec.distillation is not None
    spec = replace(spec, distillation=replace(spec.distillation, drop_prob=drop))
    learner, forwards = school.train(spec, store)
    taught = sum(row.taught for row in learner.rows)
    assert forwards.computed == taught == sum(school.forwards.values())
    assert taught == 8 * IMAGES if drop == 0 else 0 < taught < 8 * IMAGES
    assert forwards.seconds == 0, "they are part of the epochs"
    assert computed == [] and arrays(store) == []
    assert school.loads == school.keys


@pytest.mark.parametrize("outputs", ["stored", "online"])
def test_who_learns_from_labels_has_no_sources(
    school: School, store: Store, outputs: str, computed: list[int]
) -> None:
    supply = school.supply(replace(school.specs[0], outputs=outputs), store)
    assert supply.teachers is None
    assert list(supply.ready(0)) == [] and computed == [] and school.loads == []


def test_a_supply_gives_the_kind_of_sources_that_the_spec_names(
    school: School, store: Store
) -> None:
    def make(outputs: str) -> Any:
        return school.supply(learner_of(school, outputs=outputs), store).teachers

    assert isinstance(make("online"), OnlineTeachers)
    assert isinstance(make("stored"), CachedTeachers)
    assert len(make("online")) == len(make("stored")) == 2
