from __future__ import annotations

from pathlib import Path

import pytest
from helpers.losses import LogitMSE
from helpers.registries import isolate
from helpers.resolving import messages, resolved

from dgkd_search.config.checks import size_notes
from dgkd_search.training.losses.registry import get_loss, register_loss


def test_a_file_is_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (str(tmp_path / "file"), "~/file"):
        (message,) = messages(dataset="cifar10", data_dir=given)
        assert message.startswith(f"--data-dir {tmp_path / 'file'}: is a file")


def test_the_data_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given, meant in (("x", str(tmp_path / "x")), ("~/x", "/home/me/x"), ("/x", "/x")):
        assert resolved(dataset="cifar10", data_dir=given).config.data.data_dir == meant
    assert resolved(dataset="cifar10").config.data.data_dir is None


def test_depth_and_size_that_disagree_are_told() -> None:
    config = resolved(family="plain", dataset="cifar100").config
    (warning,) = size_notes(config, classes=100, channels=3, image_size=32)
    assert warning.startswith("plain7 ranks above plain6 but has fewer parameters")
    assert "655,684 against 1,107,204" in warning
    assert size_notes(resolved().config, classes=10, channels=1, image_size=8) == []


def test_options_that_change_nothing_are_told() -> None:
    (warning,) = resolved(views=8).warnings
    assert warning.startswith("--views has no effect")
    assert resolved(views=8, augment="crop").warnings == resolved(outputs="online").warnings == ()
    (warning,) = resolved(outputs="online", store_limit=10**9).warnings
    assert warning.startswith("--store-limit has no effect")


def test_a_loss_without_temperature_has_none_to_set_or_to_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    isolate(monkeypatch)
    register_loss(LogitMSE)
    found = resolved(loss="mse")
    assert found.config.distillation.loss == get_loss("mse").spec and found.warnings == ()
    (warning,) = resolved(loss="mse", temperature=3).warnings
    assert warning == "--temperature has no effect: --loss mse doesn't use it"
    assert messages(loss="mse", tune="temperature,lr") == (
        "--tune temperature: --loss mse doesn't use the temperature; leave it out, or choose "
        "another loss",
    )
    assert resolved(loss="dist", tune="temperature", temperature=3).warnings == ()


def test_a_loss_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, or after importing the user's module, if there is one that might register it."""
    isolate(monkeypatch)
    for options in ({}, {"models": "helpers.losses"}):
        register_loss(LogitMSE)  # so that the module registers something
        (message,) = messages(loss="hinton", **options)
        assert message.startswith("--loss hinton: unknown; choose from kl, dist, mse, or name your")


def test_more_threads_than_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(4)))
    assert resolved(concurrency=5).warnings == ("5 trials of 1 thread share 4 cores",)
    assert resolved(concurrency=4).warnings == resolved(cpus_per_trial=4).warnings == ()


def test_two_objectives_prune_nothing_and_say_so() -> None:
    found = resolved(objective="accuracy,cost")
    assert found.config.objectives == ("accuracy", "cost")
    assert found.config.pruner == "none"
    assert "no trial is pruned: Optuna can't prune with two objectives" in found.warnings
    assert resolved().config.pruner == "median"
    for bad in ("cost", "cost,accuracy", "speed"):
        assert messages(objective=bad)[0].startswith(f"--objective {bad}: must be accuracy")
