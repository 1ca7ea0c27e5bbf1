"""Bad input: one line with value and way out, exit code 2, and nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.registries import isolate
from PIL import Image

from dgkd_search.cli.main import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def never(*arguments: object) -> None:
        raise AssertionError("the search began")

    monkeypatch.setattr(import_module("dgkd_search.workflows.run_session").RunSession, "run", never)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def images(folder: str, parts: dict[str, str], count: int = 10) -> None:
    """Write images; ``parts`` maps ``train`` or ``test`` to its classes, one letter each."""
    generator = np.random.default_rng(0)
    for part, classes in parts.items():
        for name in classes:
            place = Path(folder, part, name)
            place.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return the error lines; a dry run gives the same ones unless data must be decoded."""
    before = tree(Path.cwd())
    assert main([*words, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert tree(Path.cwd()) == before
    lines = err.splitlines()
    assert all(line.startswith("dgkd-search: ") for line in lines)
    assert main([*words, "--dry-run"]) == 2
    assert capsys.readouterr() == ("", err)
    return [line.removeprefix("dgkd-search: ") for line in lines]


@pytest.mark.parametrize(
    ("words", "value", "way"),
    [
        ("--dataset mnist", "--dataset mnist", "choose from digits, cifar10, cifar100"),
        ("--family vggg", "--family vggg", "choose from resnet, plain, plain-c10"),
        ("--pruner best", "--pruner best", "choose from median, hyperband"),
        ("--sampler best", "--sampler best", "choose from tpe, random"),
        ("--schedule fast", "--schedule fast", "choose from step, late, thirds, cosine"),
        ("--augment mixup", "--augment mixup", "choose from none, crop, flip, crop+flip"),
        ("--loss hinton", "--loss hinton", "choose from kl, dist, or name your own module"),
        ("--loss-scale max", "--loss-scale max", "choose from mean, sum"),
        ("--drop-scope teacher", "--drop-scope teacher", "choose from student, all"),
        ("--guidance dens", "--guidance dens", "dense, sequential, teacher, none"),
        ("--tune epochs", "--tune epochs", "temperature, kd-weight, lr"),
        ("--teacher resnet8", "--teacher resnet8", "name a larger teacher"),
        ("--teacher resnet14 --student resnet20", "resnet14", "a smaller student"),
        ("--teacher resnet1000", "'resnet1000'", "near names: resnet110 (family resnet)"),
        ("--assistants resnet110", "resnet110", "choose from resnet20, resnet14"),
        ("--assistants resnet8", "--assistants resnet8", "strictly between resnet8 and resnet26"),
        ("--assistants plain4,cnn8", "plain4 (family plain)", "name models of one family"),
        ("--family vgg --teacher cnn8", "--family vgg: contradicts", "choose from vgg8, vgg11"),
        ("--family vgg --teacher vgg9", "'vgg9'", "vgg19 (family vgg)"),
        ("--assistants resnet14,resnet14", "resnet14,resnet14", "give each once"),
        ("--max-assistants 4", "--max-assistants 4", "the number of candidates"),
        ("--budget 0", "--budget 0", "at least 1"),
        ("--budget -3", "--budget -3", "at least 1"),
        ("--budget -1e3", "--budget -1e3", "at least 1"),
        ("--budget many", "--budget many", "must be a whole number of at least 1"),
        ("--budget 1.5", "--budget 1.5", "whole number"),
        ("--budget=", "--budget ''", "must be a whole number of at least 1"),
        ("--drop-prob 1", "--drop-prob 1", "[0, 1)"),
        ("--drop-prob -.1", "--drop-prob -.1", "[0, 1)"),
        ("--drop-prob -.1:.5", "--drop-prob -.1:.5", "[0, 1)"),
        ("--drop-prob 0,1.5", "--drop-prob 0,1.5", "[0, 1)"),
        ("--drop-prob .5:.1", "--drop-prob .5:.1", "LOW at most HIGH"),
        ("--lr 0", "--lr 0", "at least 1e-10"),
        ("--kd-weight 1.1", "--kd-weight 1.1", "at most 1"),
        ("--temperature nan", "--temperature nan", "finite"),
        ("--time-budget soon", "--time-budget soon", "30m"),
        ("--epochs 0", "--epochs 0", "at least 1"),
        ("--image-size 7", "--image-size 7", "at least 8"),
        ("--image-size 5000", "--image-size 5000", "at most 1024"),
        ("--gpus-per-trial 1", "--gpus-per-trial 1", "must be at most 0"),
        ("--gpus-per-trial 1.5", "--gpus-per-trial 1.5", "whole number"),
        ("--budgt 5", "--budgt", "did you mean --budget?"),
        ("--budgt=5", "--budgt=5", "did you mean --budget?"),
        ("--confg c.yaml", "--confg", "did you mean --config?"),
        ("plto run", "plto", "did you mean plot?"),
        ("--budget", "--budget", "see dgkd-search --help"),
        ("--config missing.yaml", "missing.yaml", "name a YAML file"),
        ("--config=", "--config", "name a YAML file"),
        ("--dataset imagefolder", "--data-dir: missing", "contains train/"),
        ("--dataset imagefolder --data-dir gone", "gone", "give the one that contains train/"),
        ("--data-dir here", "here", "leave it out"),
        ("--out ~nobody-at-all/x", "~nobody-at-all/x", "in full"),
        ("--out what?", "what?", "choose another folder"),
    ],
)
def test_a_bad_option_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, value: str, way: str
) -> None:
    (line,) = refused(capsys, *words.split(" "))
    assert value in line
    assert way in line


def test_a_loss_of_ones_own_that_teaches_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"losses_{tmp_path.name}"
    Path(f"{name}.py").write_text(
        "import dgkd_search\n\n\n@dgkd_search.register_loss\n"
        "class Odd(dgkd_search.DistillationLoss):\n    name, title = 'odd', 'odd loss'\n\n"
        "    def divergence(self, student, teachers, temperature):\n"
        "        return (teachers - student.detach()).square().mean()\n"
    )
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (line,) = refused(capsys, "--models", name, "--loss", "odd")
    assert line == (
        f"loss 'odd' of {name}: the learner gets no gradient; compute the divergence from student "
        "without detach, no_grad or item"
    )


def test_several_bad_options_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("seed: x\nseed: 1\npruner: best\nlr: {a: b}\nbudgt: 5\n")
    lines = refused(capsys, "--config", "c.yaml", "--epochs", "0", "--images", "disk")
    assert [line.split(": ")[:2] for line in lines] == [
        ["--config c.yaml", "line 2"],
        ["c.yaml", "pruner best"],
        ["c.yaml", "lr (a nested or tagged value)"],
        ["c.yaml", "budgt"],
        ["--images disk", "unknown; choose from auto, memory, stream"],
        ["--epochs 0", "must be a whole number of at least 1"],
    ]


BAD_DATA: dict[str, tuple[Callable[[], None], list[str]]] = {
    "missing": (lambda: None, ["data: is not a folder"]),
    "empty": (lambda: Path("data").mkdir(), ["has no train/"]),
    "no class": (lambda: Path("data/train").mkdir(parents=True), ["contains no classes"]),
    "one class": (lambda: images("data", {"train": "a"}), ["only one class, 'a'"]),
    "no image": (
        lambda: images("data", {"train": "ab"}, 0),
        ["train/a: contains", "train/b: contains"],
    ),
    "other test": (
        lambda: images("data", {"train": "ab", "test": "bc"}),
        ["test: its classes must be those of train/, but it lacks a and adds c"],
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_a_bad_data_folder_is_refused(capsys: pytest.CaptureFixture[str], case: str) -> None:
    make, expected = BAD_DATA[case]
    make()
    lines = refused(capsys, "--dataset", "imagefolder", "--data-dir", "data")
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert part in line
        assert str(Path("data").absolute()) in line


def test_an_unreadable_image_is_named_and_no_run_or_data_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images("data", {"train": "ab", "test": "ab"})
    Path("data/train/b/3.png").write_bytes(b"no picture")
    before = tree(Path("data"))
    words = "--dataset imagefolder --data-dir data --out run --store store --quiet".split()
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert str(Path("data/train/b/3.png").absolute()) in line
    assert tree(Path("data")) == before
    assert not Path("run").exists()
    kept = [p for p in Path("store").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert [p.name for p in kept] in ([], ["format.json"])


def test_the_run_folder_and_the_data_are_checked_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").touch()
    words = "--dataset imagefolder --data-dir gone --out run".split()
    out, data = refused(capsys, *words)
    assert out == (
        "--out run: holds a run already; choose a new folder, or resume it with --resume run"
    )
    assert "gone" in data


def test_a_run_folder_that_cannot_be_written_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").touch()
    (line,) = refused(capsys, "--out", "file/run")
    assert line.startswith("--out file/run: ")
    (line,) = refused(capsys, "--out", "/proc/run")  # permissions allow it, but writing fails
    assert "/proc is not writable" in line
    assert line.endswith("choose another folder")


def test_a_store_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    for bad in ("file", "file/store", "/proc/store"):
        (line,) = refused(capsys, "--store", bad, "--out", "run")
        assert line.startswith(f"--store {bad}: ")
        assert line.endswith("; choose another folder")
    assert sorted(p.name for p in Path().iterdir()) == ["file"]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("plot", "RUN"),
        ("plot gone", "gone: is not a run folder"),
        ("plot .", ".: is not a run folder"),
        ("plot a b", "b: unexpected argument"),
        ("plot --too x", "--too"),
        ("report", "RUN"),
        ("report gone", "gone: is not a run folder"),
        ("report . gone --to new.html", ".: is not a run folder"),
        ("report gone --too x", "--too"),
        ("doctor --story x", "--story"),
        ("export gone", "--to"),
        ("export gone --to new", "gone"),
        ("export --to", "--to"),
        ("export gone --to new --formats tflite", "--formats tflite"),
        ("train", "BEST"),
        ("train gone", "gone"),
        ("train gone --repeats 0", "--repeats 0"),
        ("compare", "T,A,...,S"),
        ("compare resnet20,resnet8 --repeats some", "--repeats some"),
        ("compare resnet20,resnet8 --budget 3", "--budget"),
    ],
)
def test_other_commands_refuse_what_is_no_run(
    capsys: pytest.CaptureFixture[str], words: str, value: str
) -> None:
    before = tree(Path.cwd())
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert value in err
    assert tree(Path.cwd()) == before


@pytest.mark.parametrize("store", ["shared", "none"])
def test_outputs_that_cannot_fit_are_told_before_the_search(
    capsys: pytest.CaptureFixture[str], store: str
) -> None:
    words = ["--store-limit", "10k", "--store", store, "--train-limit", "500"]
    (line,) = refused(capsys, *words)  # a dry run refuses it too
    assert main([*words, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"dgkd-search: {line}\n")
    assert line.startswith("--store-limit: stored outputs of the running trials need ")
    assert line.endswith("there is room for 10 kB; use --outputs online, or make room")
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--views 0", "--views 0"),
        ("--outputs cached", "choose from stored, online"),
        ("--precision fp16", "choose from auto, fp32, bf16"),
        ("--store-limit much", "must be a size above 0, e.g. 500M or 20G"),
        ("--images disk", "choose from auto, memory, stream"),
        ("--images stream", "only image files can be streamed (imagefolder)"),
    ],
)
def test_bad_settings_of_speed_and_room_are_refused(
    capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    (line,) = refused(capsys, *words.split())
    assert told in line
