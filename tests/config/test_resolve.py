"""Defaults by family and dataset, and the rules that span several options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.resolving import messages, resolved

from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.parsers import COARSE_DROPS
from dgkd_search.config.resolve import resolve
from dgkd_search.config.yaml_file import to_yaml_values


@pytest.mark.parametrize(
    ("dataset", "family", "teacher", "student", "pool"),
    [
        ("digits", "resnet", "resnet26", "resnet8", "20 14"),
        ("cifar10", "resnet", "resnet56", "resnet8", "44 32 26 20 14"),
        ("cifar100", "plain", "plain10", "plain2", "9 8 7 6 5 4 3"),
        ("cifar10", "plain-c10", "plain10-c10", "plain2-c10", "8 6 4"),
    ],
)
def test_the_pool_is_every_member_strictly_between_the_ends(
    dataset: str, family: str, teacher: str, student: str, pool: str
) -> None:
    space = resolved(dataset=dataset, family=family).config.space
    assert (space.teacher, space.student) == (teacher, student)
    suffix = family.removeprefix("plain") if family == "plain-c10" else ""
    assert space.pool == tuple(f"{family.split('-')[0]}{n}{suffix}" for n in pool.split())
    assert space.max_assistants == len(space.pool)
    assert space.guidances == ("dense",)


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({}, "cnn"),
        ({"dataset": "cifar10"}, "resnet"),
        ({"teacher": "resnet20"}, "resnet"),
        ({"student": "cnn3"}, "cnn"),
        ({"dataset": "cifar10", "teacher": "cnn32"}, "cnn"),
        ({"teacher": "wrn_40_2", "student": "wrn_16_2"}, "wrn"),
        ({"assistants": "plain4"}, "plain"),
        ({"student": "plain2-c10"}, "plain-c10"),
        ({"teacher": "resnet20", "family": "resnet", "student": "resnet8"}, "resnet"),
        ({"teacher": "wrn_16_2"}, "wrn"),
        ({"dataset": "cifar100", "teacher": "vgg11"}, "vgg"),
        ({"assistants": "wrn_16_2,wrn_28_2"}, "wrn"),
        ({"assistants": "none", "student": "resnet18"}, "resnet-imagenet"),
    ],
)
def test_the_family_is_that_of_the_models_that_are_named_or_the_datasets(
    options: dict[str, Any], family: str
) -> None:
    assert resolved(**options).config.family == family


@pytest.mark.parametrize(
    ("named", "teacher", "student"),
    [
        ({"teacher": "wrn_16_2"}, "wrn_16_2", "wrn_10_1"),
        ({"teacher": "wrn_40_2"}, "wrn_40_2", "wrn_16_2"),
        ({"student": "wrn_40_2"}, "wrn_40_4", "wrn_40_2"),
        ({"assistants": "wrn_16_2"}, "wrn_40_2", "wrn_10_1"),
        ({"assistants": "resnet56,resnet14"}, "resnet110", "resnet8"),
        ({"student": "resnet26"}, "resnet110", "resnet26"),
        ({"teacher": "resnet14"}, "resnet14", "resnet8"),
        ({"student": "vgg16"}, "vgg19", "vgg16"),
        ({"student": "cnn16"}, "cnn32", "cnn16"),
        ({"teacher": "cnn3"}, "cnn3", "cnn2"),
    ],
)
def test_the_default_ends_enclose_the_models_that_are_named(
    named: dict[str, Any], teacher: str, student: str
) -> None:
    space = resolved(**named).config.space
    assert (space.teacher, space.student) == (teacher, student)


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        (
            {"family": "plain", "teacher": "resnet20"},
            ["--family plain: contradicts --teacher resnet20 (family resnet); leave out --family"],
        ),
        (
            {"family": "plain", "teacher": "resnet20", "student": "plain2", "assistants": "cnn8"},
            ["--family plain: contradicts --teacher resnet20 (family resnet), --assistants cnn8"],
        ),
        (
            {"family": "plain", "teacher": "plain11"},
            ["--teacher: model 'plain11': unknown; near names: plain10 (family plain)"],
        ),
        (
            {"teacher": "wrn_40_2", "student": "resnet8"},
            ["--teacher wrn_40_2 (family wrn), --student resnet8 (family resnet): are of several"],
        ),
        (
            {"assistants": "resnet20,resnet14,vgg8"},
            ["--assistants resnet20 (family resnet), --assistants vgg8 (family vgg): are of sev"],
        ),
        (
            {"teacher": "wrn_16_3", "student": "resnet9"},
            [
                "--teacher: model 'wrn_16_3': unknown; near names: wrn_16_8 (family wrn)",
                "--student: model 'resnet9': unknown; near names: resnet",
            ],
        ),
        (
            {"teacher": "?", "student": "resnet8"},
            ["--teacher: model '?': unknown; name a model of the families resnet, plain, "],
        ),
    ],
)
def test_models_that_are_of_no_single_family_are_named(
    options: dict[str, Any], starts: list[str]
) -> None:
    found = messages(**options)
    assert [message[: len(start)] for message, start in zip(found, starts, strict=True)] == starts


def test_the_digits_of_an_earlier_version_are_split_as_they_were() -> None:
    """Its config.yaml names the family but neither validation share nor replication."""
    config = resolved(family="resnet").config
    assert config.data.validation is None
    assert (config.confirm_top, config.confirm_seeds) == (3, 5)
    assert resolved(family="resnet", validation=0.3).config.data.validation == 0.3


def test_the_pool_is_ordered_from_large_to_small_however_it_is_given() -> None:
    assert resolved(assistants="resnet14,resnet20").config.space.pool == ("resnet20", "resnet14")


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ({"teacher": "resnet8"}, ["--teacher resnet8: must be larger"]),
        ({"teacher": "resnet8", "student": "resnet20"}, ["--teacher resnet8: must be larger"]),
        ({"teacher": "resnet9"}, ["--teacher: model 'resnet9': unknown"]),
        (
            {"assistants": "resnet56", "teacher": "resnet26"},
            ["--assistants resnet56: must be strictly between"],
        ),
        (
            {"assistants": "plain4,cnn8", "family": "cnn"},
            ["--family cnn: contradicts --assistants plain4 (family plain)"],
        ),
        ({"max_assistants": 9}, ["--max-assistants 9: must be at most 3"]),
        (
            {"teacher": "resnet56", "assistants": "resnet32,resnet32x4"},
            ["--assistants resnet32,resnet32x4: have the same size (32)"],
        ),
        (
            {"drop_prob": "0.3:0.4", "drop_scope": "all"},
            ["--drop-prob 0.3:0.4: must contain one of"],
        ),
        ({"dataset": "imagefolder"}, ["--data-dir: missing"]),
        ({"data_dir": "."}, ["--data-dir .: the digits come with scikit-learn"]),
        ({"family": "vggg"}, ["--family vggg: unknown; choose from resnet, plain"]),
        ({"gpus_per_trial": 1}, ["--gpus-per-trial 1: must be at most 0"]),
        (
            {"dataset": "imagefolder", "family": "vggg", "gpus_per_trial": 2},
            ["--family vggg: unknown", "--data-dir: missing", "--gpus-per-trial 2"],
        ),
        (
            {"teacher": "resnet20", "assistants": "resnet26,resnet14", "max_assistants": 3},
            ["--assistants resnet26", "--max-assistants 3"],
        ),
    ],
)
def test_what_cannot_be_is_refused_all_at_once(options: dict[str, Any], starts: list[str]) -> None:
    found = messages(**options)
    assert len(found) == len(starts)
    for message, start in zip(found, starts, strict=True):
        assert message.startswith(start)


def test_under_scope_all_a_range_of_drops_is_coarse() -> None:
    assert resolved(drop_scope="all", drop_prob="0:0.9").config.space.drop_probs == COARSE_DROPS
    assert resolved(drop_scope="all", drop_prob="0.3").config.space.drop_probs == (0.3,)


@pytest.mark.parametrize(
    ("cpus", "options", "concurrency"),
    [
        (4, {}, 4),
        (4, {"cpus_per_trial": 3}, 1),
        (2, {"cpus_per_trial": 3}, 1),
        (4, {"concurrency": 7}, 7),
    ],
)
def test_as_many_trials_run_at_once_as_the_cores_carry(
    monkeypatch: pytest.MonkeyPatch, cpus: int, options: dict[str, Any], concurrency: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cpus)))
    assert resolved(**options).resources.concurrency == concurrency


@pytest.mark.parametrize(
    ("devices", "share", "concurrency"),
    [(2, None, 2), (2, "0.5", 4), (2, "0.6", 2), (4, "2", 2), (3, "2", 1), (2, "0.1", 20)],
)
def test_as_many_trials_run_at_once_as_the_gpus_carry(
    monkeypatch: pytest.MonkeyPatch, devices: int, share: str | None, concurrency: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    found = resolved(gpus_per_trial=share)
    assert found.resources.concurrency == concurrency
    assert found.config.numerics.device_type == "cuda"
    (message,) = messages(gpus_per_trial=share, concurrency=concurrency + 1)
    assert message.startswith(f"--concurrency {concurrency + 1}: {devices} GPUs hold")


def test_a_clusters_gpus_are_not_counted_here() -> None:
    found = resolved(address="ray://somewhere:10001", gpus_per_trial=4, concurrency=8)
    assert found.resources.gpus_per_trial == 4
    (message,) = messages(address="somewhere:6379", concurrency=8)
    assert message.startswith("--address somewhere:6379: also needs --gpus-per-trial")


SAID: list[dict[str, Any]] = [
    {},
    {"dataset": "cifar100", "family": "plain", "assistants": "none", "guidance": "none,dense"},
    {"drop_prob": "0.1234567,0.3333333333", "temperature": "2.123456789", "lr": "1e-05"},
    {"drop_prob": "0:0.5", "tune": "lr,temperature", "time_budget": "1e16", "no_reference": True},
    {"seed": 2**63 - 1, "train_limit": 50, "image_size": 16, "kd_weight": "-0"},
    {"dataset": "imagefolder", "data_dir": "no: 'thing' #1", "store": "yes"},
]


@pytest.mark.parametrize("said", SAID)
def test_resolved_options_say_the_same_study_again(said: dict[str, Any]) -> None:
    first = resolved(**said)
    again = resolve(parse_options(to_yaml_values(first.options)))
    assert again.config == first.config
    assert again.resources == first.resources
    assert again.options == replace(first.options, out=None, quiet=False, dry_run=False)


@pytest.mark.parametrize("value", ["3x5", "1x2", "10x3"])
def test_what_is_confirmed(value: str) -> None:
    config = resolved(confirm=value).config
    assert f"{config.confirm_top}x{config.confirm_seeds}" == value
    assert to_yaml_values(resolved(confirm=value).options)["confirm"] == value


def test_confirming_may_be_off() -> None:
    for value in ("off", False):
        assert resolved(confirm=value).config.confirm_seeds == 0
    assert resolved().config.confirm_seeds == 10
    assert resolved(dataset="cifar10").config.confirm_seeds == 5
    for bad in ("3", "0x5", "3x1", "3x", "x", "3x5x2"):
        assert messages(confirm=bad)[0].startswith(f"--confirm {bad}: must be CONFIG")
