from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.shipped import CHAIN, make_run

from dgkd_search.data import load_test
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.pretrained import read_teacher
from dgkd_search.errors import InputError
from dgkd_search.results.best import load_best, load_student
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.store import Store
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.weights import from_bytes, to_bytes
from dgkd_search.utils.hashing import with_checksum
from dgkd_search.workflows import retrain as module
from dgkd_search.workflows.export import export_run
from dgkd_search.workflows.retrain import Retrained, retrain


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("retrain"))


@pytest.fixture(scope="module")
def place(run: RunFolder) -> dict[str, Any]:
    return {"store": str(run.path.parent / "store"), "cpus_per_trial": 1}


@pytest.fixture(scope="module")
def found(run: RunFolder, place: dict[str, Any]) -> Retrained:
    return retrain(run.best, run.path / "trained", 2, place)


def test_the_whole_chain_is_trained_anew_on_all_images(
    found: Retrained, run: RunFolder, place: dict[str, Any]
) -> None:
    assert found.images == 150
    assert found.chain.models == CHAIN
    searched, *repeats = (load_best(folder) for folder in (run.path, *found.folders))
    keys = [{stage["key"] for stage in best["stages"]} for best in (searched, *repeats)]
    assert len(set.union(*keys)) == 3 * len(CHAIN), "teachers and assistants too"
    store = Store(place["store"])
    for best in repeats:
        assert best["data"]["train_count"] == 150
        assert best["data"]["fingerprint"] != searched["data"]["fingerprint"]
        recipes = [stage["recipe"] for stage in best["stages"]]
        assert recipes == [stage["recipe"] for stage in searched["stages"]]
        losses = [stage["distillation"] for stage in best["stages"]]
        assert losses == [stage["distillation"] for stage in searched["stages"]]
        assert best["validation_accuracy"] is None, "these images were trained on"
        assert best["stages"][-1]["key"] in store


def test_each_student_has_the_stated_test_accuracy(found: Retrained) -> None:
    part = load_test(DataConfig("digits"))
    for folder, stated in zip(found.folders, found.tests, strict=True):
        with torch.inference_mode():
            predicted = load_student(folder)(torch.from_numpy(part.images)).argmax(dim=1)
        right = float((predicted == torch.from_numpy(part.labels)).float().mean())
        assert stated == pytest.approx(100 * right)
        assert load_best(folder)["test_accuracy"] == stated
    assert "95 % interval of the mean" in str(found)


def test_again_nothing_is_trained_and_the_test_set_stays_closed(
    found: Retrained, run: RunFolder, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_train", None)
    monkeypatch.setattr(module, "test_accuracy", None)
    assert retrain(run.path, run.path / "trained", 2, place) == found


def test_more_repeats_go_on(found: Retrained, run: RunFolder, place: dict[str, Any]) -> None:
    more = retrain(run.best, run.path / "trained", 3, place)
    assert more.tests[:2] == found.tests
    assert len(more.folders) == 3


def changed(run: RunFolder, folder: Path, **values: Any) -> Path:
    best = {**load_best(run.path), **values}
    best = {name: value for name, value in best.items() if value is not ...}
    (folder / "best.yaml").write_text(yaml.safe_dump(with_checksum(best)))
    return folder / "best.yaml"


def test_what_does_not_fit_is_refused_in_one_line(
    run: RunFolder, place: dict[str, Any], tmp_path: Path
) -> None:
    options = load_best(run.path)["options"]
    stages = load_best(run.path)["stages"]
    other = [*stages[:-1], {**stages[-1], "architecture": stages[0]["architecture"]}]
    loss = {"name": "kl", "origin": "mine", "code": "c" * 32}
    settings = {**stages[-1]["distillation"], "loss": loss}
    for values, message in (
        ({"options": ...}, "earlier version"),
        ({"options": {**options, "split-seed": 5}}, "used other data"),
        (
            {"options": {**options, "beta": 5}},
            "was written with --beta, which no installed package",
        ),
        ({"options": {**options, "models": "somewhere.else"}}, "name it with --models"),
        ({"stages": other}, r"^.*: the code of .* has changed since the search; restore it"),
        ({"stages": [*stages[:-1], {**stages[-1], "distillation": settings}]}, "its loss 'kl'"),
        ({"stages": []}, "is damaged"),
    ):
        best = changed(run, tmp_path, **values)
        with pytest.raises(InputError, match=message) as caught:
            retrain(best, tmp_path / "out", 1, place)
        assert len(caught.value.messages) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_student_is_refused(
    found: Retrained, run: RunFolder, place: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "repeat-1").mkdir()
    for name in ("best.yaml", "student.safetensors"):
        (tmp_path / "repeat-1" / name).write_bytes((found.folders[1] / name).read_bytes())
    with pytest.raises(InputError, match="holds another student; choose a new folder"):
        retrain(run.best, tmp_path, 1, place)


def test_without_a_test_set_students_stay_as_they_are(
    run: RunFolder, place: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_test", lambda config: False)
    first = retrain(run.best, tmp_path, 1, place)
    assert first.tests == ()
    before = (tmp_path / "repeat-1" / "student.safetensors").read_bytes()
    again = retrain(run.best, tmp_path, 2, place)
    assert (tmp_path / "repeat-1" / "student.safetensors").read_bytes() == before
    load_student(tmp_path / "repeat-1")
    assert "there is no test set" in str(again)


def test_a_test_set_that_could_not_be_read_is_read_later(
    run: RunFolder, place: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "test_accuracy", lambda *_: (None, "an image is damaged"))
        first = retrain(run.best, tmp_path, 1, place)
    assert first.problem == "an image is damaged"
    assert load_best(tmp_path / "repeat-1")["test_reads"] == 0
    again = retrain(run.best, tmp_path, 1, place)
    assert len(again.tests) == 1
    assert load_best(tmp_path / "repeat-1")["test_reads"] == 1
    load_student(tmp_path / "repeat-1")


def test_a_reading_that_was_cut_off_is_counted(
    run: RunFolder, place: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "test_accuracy", cut_off)
        with pytest.raises(KeyboardInterrupt):
            retrain(run.best, tmp_path, 1, place)
    retrain(run.best, tmp_path, 1, place)
    assert load_best(tmp_path / "repeat-1")["test_reads"] == 2


def test_what_an_interrupted_call_left_is_finished(
    found: Retrained, run: RunFolder, place: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "repeat-1"
    folder.mkdir()
    (folder / "student.safetensors").write_bytes(b"half")
    (folder / ".tmp-1-best.yaml").write_bytes(b"")
    again = retrain(run.best, tmp_path, 1, place)
    assert again.tests == found.tests[:1]
    (folder / "best.yaml").unlink()
    (folder / "mine.txt").write_text("")
    with pytest.raises(InputError, match="isn't empty; choose a new folder"):
        retrain(run.best, tmp_path, 1, place)


def test_a_retrained_student_is_exported_and_not_retrained(
    found: Retrained, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is already retrained"):
        retrain(found.folders[0], tmp_path / "out", 1)
    export_run(found.folders[0], tmp_path / "ship", ())
    assert ", including the validation set" in (tmp_path / "ship" / "README.md").read_text()


def test_a_given_teacher_is_needed_again(
    run: RunFolder, place: dict[str, Any], tmp_path: Path
) -> None:
    stages = load_best(run.path)["stages"]
    entry = Store(place["store"]).get(stages[0]["key"])
    assert entry is not None
    (tmp_path / "teacher.safetensors").write_bytes(entry.tensors)
    (tmp_path / "other.safetensors").write_bytes(
        to_bytes({k: v + 1 for k, v in from_bytes(entry.tensors).items()})
    )
    architecture = StageSpec.from_dict(stages[0]).architecture
    checksum = read_teacher(tmp_path / "teacher.safetensors", architecture).checksum
    given = {**stages[0], "given": checksum}
    keys = {stages[0]["key"]: StageSpec.from_dict(given).key}
    learners: list[dict[str, Any]] = []
    for stage in stages[1:]:
        learner = {**stage, "sources": [keys.get(key, key) for key in stage["sources"]]}
        keys[stage["key"]] = StageSpec.from_dict(learner).key
        learners.append(learner)
    best = changed(run, tmp_path, stages=[given, *learners])
    with pytest.raises(InputError, match="name the file of its weights with --teacher-weights"):
        retrain(best, tmp_path / "out", 1, place)
    other = {**place, "teacher_weights": str(tmp_path / "other.safetensors")}
    with pytest.raises(InputError, match="differ from the weights of the search"):
        retrain(best, tmp_path / "out", 1, other)
    right = {**place, "teacher_weights": str(tmp_path / "teacher.safetensors")}
    found = retrain(best, tmp_path / "out", 1, right)
    assert load_best(found.folders[0])["stages"][0]["given"] == checksum
