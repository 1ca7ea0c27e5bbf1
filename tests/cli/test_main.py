"""The command's output, and dry runs, which change nothing."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import save_classes, save_image
from helpers.summaries import SUMMARY
from PIL import Image

from dgkd_search.cli.main import main
from dgkd_search.distillation.chain import Chain


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_search_that_gave_up_says_so_after_its_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = replace(SUMMARY, run=Path("a run"), ended="3 trials failed in a row", aborted=True)
    monkeypatch.setattr("dgkd_search.workflows.search.run_search", lambda *_: found)
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("ended early 3 trials failed in a row\nbest chain")
    assert err == (
        "dgkd-search: the search ended before its budget: 3 trials failed in a row; remove the "
        "cause, then resume with `dgkd-search --resume 'a run'`\n"
    )


def test_an_interruption_before_a_resumed_search_began_says_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dgkd_search.workflows.search.resume_search", interrupted)
    assert main(["--resume", "a run"]) == 130
    said = "dgkd-search: interrupted; resume with `dgkd-search --resume 'a run'`\n"
    assert capsys.readouterr().err == said


def test_a_run_that_is_resumed_may_know_names_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--loss", "mine"]) == 2
    assert "--loss mine: unknown" in capsys.readouterr().err
    assert main(["--resume", "run", "--loss", "mine"]) == 2
    assert "run: is not a run folder" in capsys.readouterr().err


def test_an_option_of_a_module_is_to_be_named_with_it_on_resume(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--resume", "run", "--mse-scale", "2"]) == 2
    assert "; if your own module adds it, name the module with --models" in capsys.readouterr().err
    assert main(["--mse-scale", "2"]) == 2
    assert "your own module" not in capsys.readouterr().err


def dry(capsys: pytest.CaptureFixture[str], words: str) -> list[str]:
    assert main(["--dry-run", *words.split()]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(
    "words", ["--help", "plot --help", "export --help", "train --help", "compare --help", "-h"]
)
def test_help_is_everywhere(capsys: pytest.CaptureFixture[str], words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert out.startswith("usage: dgkd-search")
    assert max(map(len, out.splitlines())) < 120


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == version("dgkd-search")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--budget", "0"], ["plot"]])
def test_what_needs_no_training_loads_no_library_for_it(words: list[str]) -> None:
    script = (
        "import sys\nfrom dgkd_search.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy', 'matplotlib', 'sklearn'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = dry(capsys, "--concurrency 3 --cpus-per-trial 1 --out new")
    values = {line[:15].strip(): line[16:] for line in lines if line}
    assert values["teacher"] == "cnn32"
    assert values["assistants"] == "cnn16, cnn8, cnn4"
    assert values["drop-prob"] == "0:0.5"
    assert values["run folder"] == "new"
    assert values["trials at once"] == "3, each on 1 CPU thread and 0 GPUs"
    assert values["stored outputs"].startswith("up to 22 kB a teacher (1 view), ")
    assert [line[16:] for line in lines if line.startswith("first trial")] == [
        "cnn32 > cnn3  (plain KD)",
        "cnn32 > cnn16 > cnn8 > cnn4 > cnn3  (full chain)",
        "cnn32 > cnn8 > cnn3  (middle assistant alone)",
    ]
    assert list(tmp_path.iterdir()) == []


POOL = ("resnet44", "resnet32", "resnet26", "resnet20", "resnet14")


@pytest.mark.parametrize(("budget", "count"), [(1, 1), (2, 2), (9, 3)])
def test_a_dry_run_names_no_more_first_trials_than_the_budget(
    capsys: pytest.CaptureFixture[str], budget: int, count: int
) -> None:
    lines = dry(capsys, f"--budget {budget}")
    assert len([line for line in lines if line.startswith("first trial")]) == count


@pytest.mark.parametrize(
    ("pool", "bound", "guidances", "drops"),
    [
        (2, 2, "dense", "0:0.5"),
        (5, 5, "dense", "0.25"),
        (5, 2, "dense,sequential", "0,.25,.5"),
        (3, 3, "dense,sequential,teacher,none", "0,.5"),
        (0, 0, "none", "0:0.5"),
        (0, 0, "teacher,dense", "0.5"),
        (4, 1, "sequential", "0:0.9"),
    ],
)
def test_the_number_of_configurations_is_that_of_a_brute_count(
    capsys: pytest.CaptureFixture[str], pool: int, bound: int, guidances: str, drops: str
) -> None:
    values = [i for i in range(19) if i / 20 <= float(drops.split(":")[1])] if ":" in drops else []
    seen = set()
    for flags in itertools.product((False, True), repeat=pool):
        assistants = tuple(itertools.compress(POOL, flags))
        if len(assistants) <= bound:
            for guidance in guidances.split(","):
                chain = Chain(("resnet56", *assistants, "resnet8"), guidance).canonical()
                several = len(chain.teachers(len(chain.models) - 1)) > 1
                seen |= {(chain, p if several else None) for p in values or drops.split(",")}
    names = ",".join(POOL[:pool]) or "none"
    for budget in (1, 10_000):
        lines = dry(
            capsys,
            f"--dataset cifar10 --teacher resnet56 --assistants {names} --max-assistants {bound} "
            f"--guidance {guidances} --drop-prob {drops} --budget {budget}",
        )
        tried = min(budget, len(seen))
        expected = (
            f"configurations  {len(seen)} (of chain, guidance and drop); the budget covers "
            f"{tried} of them"
        )
        assert [line for line in lines if line.startswith("configurations")] == [expected]


def test_a_tuned_rate_has_unlimited_values(capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry(capsys, "--tune lr --budget 500")
    assert (
        "configurations  unlimited (of chain, guidance and drop); the budget covers 500 of them"
        in lines
    )


def test_the_depth_note_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (note,) = (
        line
        for line in dry(capsys, "--dataset cifar100 --family plain --concurrency 1")
        if line.startswith("note: ")
    )
    assert note.startswith("note: plain7 ranks above plain6")


def test_the_command_line_wins_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text("budget: 3\nseed: 5\ndry-run: true\n")
    lines = dry(capsys, "--config c.yaml --budget 4")
    assert [line.split() for line in lines if line.startswith(("budget ", "seed "))] == [
        ["budget", "4"],
        ["seed", "5"],
    ]


def test_what_a_file_says_of_an_option_given_on_the_command_line_is_not_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("c.yaml").write_text("budget: wrong\n")
    assert dry(capsys, "--config c.yaml --budget 4")
    assert main(["--dry-run", "--config", "c.yaml"]) == 2


def test_a_share_for_a_part_that_is_there_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for part, name, shade in itertools.product(("train", "val"), "ab", range(0, 250, 25)):
        save_image(Path("pictures", part, name, f"{shade}.png"), np.full((16, 16), shade))
    words = "--dataset imagefolder --data-dir pictures --validation 0.3"
    notes = [line for line in dry(capsys, words) if line.startswith("note: --validation")]
    assert notes == ["note: --validation has no effect: the dataset has a validation set"]


def test_a_folder_names_what_it_uses_and_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_classes(Path("pictures/train"), count=20)
    save_classes(Path("pictures/valid"), count=15)
    Path("pictures/train/a/list.txt").write_text("no image")
    lines = dry(capsys, "--dataset imagefolder --data-dir pictures")
    assert {"note: valid/ is the validation set", "note: left out: 1 .txt"} <= {*lines}
    (data,) = [line for line in lines if line.startswith("data  ")]
    assert data.split(maxsplit=1)[1].startswith("40 to train, 30 to validate, no test set; ")


def test_the_data_are_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        "data            935 to train, 503 to validate, a test set; 10 classes "
        "(0, 1, 2, 3, 4, 5, 6, 7, ...), 8 x 8, gray"
    ) in dry(capsys, "--dataset digits")
    (note,) = [line for line in dry(capsys, "--train-limit 40") if "validation set" in line]
    assert re.match(
        r"note: the validation set has (\d+) images, each [\d.]+ % of the accuracy: ", note
    )
    (said,) = [line for line in dry(capsys, "--dataset cifar100") if line.startswith("data  ")]
    assert "cifar-100-python.tar.gz isn't in " in said
    assert "will be downloaded from https://" in said
    Path("here").mkdir()
    Path("here/cifar-100-python.tar.gz").touch()
    found = dry(capsys, "--dataset cifar100 --data-dir here")
    assert any(line.startswith("data            in ") for line in found)


@pytest.mark.parametrize(("few", "told"), [(2, True), (4, False)])
def test_uneven_classes_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, few: int, told: bool
) -> None:
    for name, count in (("cat", 6), ("dog", few)):
        (tmp_path / "photos" / "train" / name).mkdir(parents=True)
        (tmp_path / "photos" / "val" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), i).save(tmp_path / "photos" / "train" / name / f"{i}.png")
        Image.new("L", (8, 8)).save(tmp_path / "photos" / "val" / name / "0.png")
    lines = dry(capsys, "--dataset imagefolder --data-dir photos --image-size 8 --concurrency 1")
    found = [line for line in lines if line.startswith("note: classes")]
    expected = (
        "note: classes are imbalanced: cat has 6 training images, dog has 2; "
        "accuracy favors large classes"
    )
    assert found == ([expected] if told else [])
