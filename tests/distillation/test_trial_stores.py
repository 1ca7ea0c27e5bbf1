"""Sharing changes no result, whichever trial trained a stage and whatever was stored before."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgkd_search.data import PreparedData
from dgkd_search.distillation import trial as trial_module
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.stages import ChainSettings, chain_stages
from dgkd_search.distillation.stats import TrialResult
from dgkd_search.distillation.trial import Trial
from dgkd_search.distillation.trial_stores import TrialStores, open_stores
from dgkd_search.errors import InputError
from dgkd_search.models import get_family
from dgkd_search.store.location import NO_STORE
from dgkd_search.store.store import Store
from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.recipe import OUTPUTS, Distillation, Numerics, Recipe
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord

# Chains with no, one and three assistants; all need the teacher, the last two also resnet26.
CHAINS = (
    ("resnet32", "resnet8"),
    ("resnet32", "resnet26", "resnet8"),
    ("resnet32", "resnet26", "resnet20", "resnet14", "resnet8"),
)
EPOCHS, VIEWS = 3, 2  # the third epoch uses the first bank again
DISTINCT = len({name for chain in CHAINS for name in chain[:-1]}) + len(CHAINS)

Stages = tuple[StageSpec, ...]
Found = dict[str, tuple[bytes, list[EpochMetrics]]]
Alone = tuple[list[Stages], Found]


@pytest.fixture(scope="module")
def plan(digits: PreparedData) -> Callable[..., list[Stages]]:
    def make(outputs: str) -> list[Stages]:
        info, loss = digits.info, Distillation(drop_prob=0.5)
        recipe = Recipe(EPOCHS, 50, 0.05, 5e-4, "onecycle", "crop+flip", VIEWS)
        return [
            chain_stages(
                Chain(models),
                ChainSettings(
                    architecture=get_family("resnet").architectures(
                        len(info.classes), info.channels, info.image_size
                    ),
                    data=info.fingerprint,
                    recipe=recipe,
                    student_recipe=recipe,
                    distillation=loss,
                    assistant_distillation=loss,
                    numerics=Numerics(),
                    outputs=outputs,
                ),
            )
            for models in CHAINS
        ]

    return make


def found(store: Store, stages: Stages) -> Found:
    """Return weights and rows, without times, of a chain's stages in a store."""
    kept: Found = {}
    for spec in stages:
        entry = store.get(spec.key)
        assert entry is not None
        rows = StageRecord.from_json(spec, entry.meta).rows
        kept[spec.key] = entry.tensors, [replace(row, seconds=0.0) for row in rows]
    return kept


@pytest.fixture(scope="module")
def privately(
    plan: Callable[..., list[Stages]],
    digits: PreparedData,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Alone]:
    @functools.cache
    def train(outputs: str) -> Alone:
        stores = TrialStores(tmp_path_factory.mktemp("private"), shared=False)
        plans = plan(outputs)
        result: Found = {}
        for stages in plans:
            trial = Trial(stages, digits, stores.open(stages))
            assert [stage.trained for stage in trial.run().stages] == [EPOCHS] * len(stages)
            for key, value in found(trial.store, stages).items():
                assert result.setdefault(key, value) == value, "one stage in two private stores"
        assert len(result) == DISTINCT
        return plans, result

    return train


@pytest.fixture(params=OUTPUTS)
def alone(
    request: pytest.FixtureRequest, privately: Callable[[str], Alone], thorough: bool
) -> Alone:
    """The stages of each chain, and their results if trials share nothing."""
    if request.param == "online" and not thorough:
        pytest.skip("as stored; pytest --thorough")
    return privately(request.param)


@pytest.fixture
def shared(tmp_path: Path) -> TrialStores:
    return TrialStores(tmp_path / "shared", shared=True)


def together(stores: TrialStores, plans: Sequence[Stages]) -> Found:
    """Return the results of all chains in the shared store."""
    kept: Found = {}
    for stages in plans:
        kept |= found(stores.open(stages), stages)
    return kept


def trained(results: Sequence[TrialResult]) -> int:
    return sum(stage.trained for result in results for stage in result.stages)


def test_the_cases_are_what_they_are_meant_to_be(alone: Alone) -> None:
    plans, result = alone
    assert [len(stages) - 2 for stages in plans] == [0, 1, 3]
    for spec in itertools.chain(*plans):
        assert spec.recipe.views == VIEWS < EPOCHS == spec.recipe.epochs
        taught = [row.taught for row in result[spec.key][1]]
        assert len(taught) == EPOCHS
        if len(spec.teachers) > 1:
            assert sum(taught) < 100 * EPOCHS * len(spec.teachers), "some sources were dropped"
        else:
            assert taught == [100 * len(spec.teachers)] * EPOCHS
    students = [result[stages[-1].key][0] for stages in plans]
    assert len(set(students)) == len(students), "every chain gives another student"


def test_trials_of_one_store_find_what_each_would_alone(
    alone: Alone, shared: TrialStores, digits: PreparedData
) -> None:
    plans, expected = alone
    results = [Trial(plans[i], digits, shared.open(plans[i])).run() for i in (2, 0, 1)]
    assert together(shared, plans) == expected
    assert trained(results) == EPOCHS * DISTINCT, "each was trained once"
    forwards, taught = sum(r.forwards for r in results), sum(r.taught for r in results)
    if plans[0][-1].outputs == "stored":
        sources = {key for stages in plans for spec in stages for key in spec.teachers}
        assert len(sources) == DISTINCT - len(CHAINS)
        assert forwards == len(sources) * VIEWS * 100 < taught, "and each view was judged once"
    else:
        assert forwards == taught


@pytest.mark.parametrize(
    ("alone", "position", "stop"),
    [("stored", 1, 2), ("stored", 2, 1), ("online", 2, 1)],
    indirect=["alone"],
)
def test_a_stage_that_others_carry_on_ends_the_same(
    alone: Alone,
    shared: TrialStores,
    digits: PreparedData,
    position: int,
    stop: int,
) -> None:
    """The longest trial stops within an assistant; others run, then the longest one again."""
    plans, expected = alone
    first = Trial(plans[2], digits, shared.open(plans[2]))
    with closing(iter(first)) as rows:
        for row in rows:
            if (row.position, row.epoch) == (position, stop):
                break
    assert [stage.finished for stage in first.result.stages] == [True] * position + [False]
    later = [Trial(plans[i], digits, shared.open(plans[i])).run() for i in (1, 0, 2)]
    carried = later[0 if position == 1 else 2].stages[position]
    assert (carried.key, carried.trained) == (plans[2][position].key, EPOCHS - stop)
    assert together(shared, plans) == expected
    assert trained([first.result, *later]) == EPOCHS * DISTINCT


@pytest.mark.parametrize("alone", ["stored"], indirect=True)
def test_trials_in_turns_end_the_same(
    alone: Alone,
    shared: TrialStores,
    digits: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epoch by epoch in one process; each waits while another trains a stage that it needs."""
    monkeypatch.setattr(trial_module, "_REPORT_INTERVAL", 0.0)  # a report at every poll of the lock
    monkeypatch.setattr(trial_module, "POLL", 0.0)
    plans, expected = alone
    trials = [Trial(plans[i], digits, shared.open(plans[i])) for i in (1, 2, 0)]
    turns: list[Iterator[Any]] = [iter(trial) for trial in trials]
    waited = set()
    while turns:
        for rows in list(turns):
            row = next(rows, None)
            if row is None:
                turns.remove(rows)
            elif row.event == "waiting":
                waited.add(row.stage)
    assert {"resnet32", "resnet26"} <= waited
    assert together(shared, plans) == expected
    assert trained([trial.result for trial in trials]) == EPOCHS * DISTINCT


@pytest.mark.parametrize("alone", ["stored"], indirect=True)
def test_outputs_that_go_between_epochs_change_nothing(
    alone: Alone, shared: TrialStores, digits: PreparedData
) -> None:
    plans, expected = alone
    removed = 0
    for stages in plans:
        trial = Trial(stages, digits, shared.open(stages))
        for count, _ in enumerate(trial):
            if count % 2:
                removed += len(trial.store.outputs.files())
                shutil.rmtree(trial.store.root / "outputs")
                trial.store.outputs.root.mkdir()
    assert removed > 2 * len(plans)
    assert together(shared, plans) == expected


@pytest.mark.parametrize("alone", ["stored"], indirect=True)
def test_a_store_without_room_for_outputs_changes_nothing(
    alone: Alone, shared: TrialStores, digits: PreparedData
) -> None:
    plans, expected = alone
    narrow = TrialStores(shared.root, shared=True, limit=1)
    for stages in reversed(plans):
        Trial(stages, digits, narrow.open(stages)).run()
    assert not narrow.open(plans[0]).outputs.files()
    assert together(narrow, plans) == expected


@pytest.mark.parametrize("alone", ["stored"], indirect=True)
def test_threads_that_share_a_store_end_the_same(
    alone: Alone, shared: TrialStores, digits: PreparedData
) -> None:
    plans, expected = alone

    def run(stages: Stages) -> TrialResult:
        return Trial(stages, digits, shared.open(stages)).run()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run, plans))
    assert together(shared, plans) == expected
    assert trained(results) == EPOCHS * DISTINCT


RUNNER = """
import json, sys, torch
from pathlib import Path
from dgkd_search.data import open_prepared
from dgkd_search.training.spec import StageSpec
from dgkd_search.distillation.trial_stores import TrialStores
from dgkd_search.distillation.trial import Trial
torch.set_num_threads(1)
plans = [[StageSpec.from_dict(spec) for spec in plan] for plan in json.loads(sys.argv[1])]
print("ready", flush=True)
sys.stdin.readline()
for stages in plans:
    store = TrialStores(Path(sys.argv[3]), shared=True).open(stages)
    result = Trial(stages, open_prepared(Path(sys.argv[2])), store).run()
    print(sum(stage.trained for stage in result.stages), flush=True)
"""


@pytest.mark.parametrize("alone", ["stored"], indirect=True)
def test_processes_that_share_a_store_end_the_same(
    alone: Alone, shared: TrialStores, digits: PreparedData
) -> None:
    plans, expected = alone
    specs = json.dumps([[spec.to_dict() for spec in plans[i]] for i in (2, 0)])
    other = subprocess.Popen(
        [sys.executable, "-c", RUNNER, specs, str(digits.path), str(shared.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        results = [Trial(plans[i], digits, shared.open(plans[i])).run() for i in (1, 2)]
        counts = list(map(int, other.communicate(timeout=120)[0].split()))
    finally:
        other.kill()
        other.communicate()
    assert together(shared, plans) == expected
    assert len(counts) == 2
    assert sum(counts) + trained(results) == EPOCHS * DISTINCT


# The store of a trial.


def test_trials_that_share_have_one_store(
    plan: Callable[..., list[Stages]], tmp_path: Path
) -> None:
    stores = TrialStores(tmp_path, shared=True, limit=17)
    assert {stores.path_for(stages) for stages in plan("stored")} == {tmp_path}
    assert stores.data == tmp_path / "data"
    opened = stores.open(plan("stored")[0])
    assert (opened.root, opened.outputs.limit) == (tmp_path, 17)
    assert stores.data == opened.data


def test_trials_that_do_not_share_have_a_store_each(
    plan: Callable[..., list[Stages]], tmp_path: Path
) -> None:
    stores = TrialStores(tmp_path, shared=False, limit=17)
    plans = [*plan("stored"), *plan("online")]
    folders = [stores.path_for(stages) for stages in plans]
    assert len({*folders, stores.data}) == len(plans) + 1
    assert {folder.parent for folder in folders} == {tmp_path} == {stores.data.parent}
    assert stores.path_for(plan("stored")[1]) == folders[1], "one trial, one store, whoever asks"
    opened = stores.open(plans[1])
    assert (opened.root, opened.outputs.limit) == (folders[1], 17)


def test_private_stores_are_gone_when_the_search_is(
    plan: Callable[..., list[Stages]], tmp_path: Path, digits: PreparedData
) -> None:
    private, stages = tmp_path / "runs" / ".run-stores", plan("stored")[0][:1]
    with open_stores(None, private, None) as (stores, store):
        assert store is None
        assert (stores.shared, stores.limit) == (False, None)
        Trial(stages, digits, stores.open(stages)).run()
        assert stages[0].key in stores.open(stages)
        stores.data.mkdir()
        assert {path.name for path in private.iterdir()} == {stages[0].key, "data"}
    assert not private.exists()
    assert private.parent.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_private_stores_stay_for_a_search_that_goes_on_later(
    plan: Callable[..., list[Stages]], tmp_path: Path, error: type[BaseException]
) -> None:
    private, stages = tmp_path / "private", plan("stored")[0]
    with pytest.raises(error), open_stores(None, private, 5) as (stores, _):
        stores.open(stages).put("a" * 32, b"weights", {})
        raise error
    with open_stores(None, private, 5) as (stores, _):
        assert "a" * 32 in stores.open(stages)
    assert not private.exists()


def test_private_stores_that_were_never_opened_are_no_trouble(tmp_path: Path) -> None:
    with open_stores(None, tmp_path / "private", None):
        pass
    assert list(tmp_path.iterdir()) == []


def test_private_stores_do_not_follow_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Callable[..., list[Stages]]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_stores(None, Path("private"), None) as (stores, _):
        assert stores.root == tmp_path / "private"
        assert stores.path_for(plan("stored")[0]).is_absolute()


@pytest.mark.parametrize("fails", [False, True])
def test_the_shared_store_stays(
    plan: Callable[..., list[Stages]], tmp_path: Path, fails: bool
) -> None:
    root, private, stages = tmp_path / "shared", tmp_path / "private", plan("stored")[0]
    try:
        with open_stores(root, private, 9) as (stores, store):
            assert store is not None
            assert stores == TrialStores(root, True, 9)
            assert store.root == stores.path_for(stages) == root
            assert store.outputs.limit == 9
            store.put(stages[0].key, b"weights", {})
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert stages[0].key in Store(root)
    assert not private.exists()


def test_a_shared_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="choose another folder with --store"),
        open_stores(tmp_path / "file", tmp_path / "private", None),
    ):
        raise AssertionError("never begun")
    assert NO_STORE == "none"
