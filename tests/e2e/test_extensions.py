"""Extensions of an installed package work in search, resume, best.yaml, export and help."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from helpers.example_package import install
from helpers.searches import run, trials

from dgkd_search.cli.main import main

SEARCH = (
    "--family plain-c10 --train-limit 100 --teacher plain8-c10 --student plain2-c10 "
    "--assistants plain6-c10,plain4-c10 --epochs 1 --batch-size 50 --confirm off --no-reference"
).split()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site folder, with the example package installed."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path / "site"


def searched(cwd: Path, *words: str) -> None:
    code, _, err = run(*words, cwd=cwd, ray=False)
    assert code == 0, err


@pytest.mark.e2e
def test_a_guidance_of_a_module(site: Path, tmp_path: Path, thorough: bool) -> None:
    install(site, entry_points=False)
    words = "--guidance outer --drop-prob 0 --budget 2 --models extradistill.guidance --out run"
    if not thorough:
        searched(tmp_path, *SEARCH, *words.split(), "--dry-run")
        return
    searched(tmp_path, *SEARCH, *words.split())
    rows = trials(tmp_path / "run")
    assert [row["guidance"] for row in rows] == ["dense", "outer"], "plain KD is everybody's"
    assert rows[1]["assistants"] == "plain6-c10>plain4-c10"
    searched(tmp_path, "--resume", "run", "--budget", "3")
    assert trials(tmp_path / "run")[:2] == rows
    stages = yaml.safe_load((tmp_path / "run/best.yaml").read_text())["stages"]
    keys = [stage["key"] for stage in stages]
    taught = [[keys.index(source) for source in stage["sources"]] for stage in stages]
    assert taught == [sorted({0, i - 1}) if i else [] for i in range(len(stages))]


@pytest.mark.e2e
def test_everything_at_once(site: Path, tmp_path: Path) -> None:
    install(site)
    (tmp_path / "moreforms.py").write_text(
        "from dgkd_search import register_export_form\n"
        "def make(student, images, path):\n"
        "    path.write_bytes(b'more')\n"
        "    return student\n"
        "register_export_form('more', 'student.more', make)\n"
    )
    search = "--dataset noise --family thin --sampler broad --pruner quarter --epochs 2 --budget 4"
    search += " --batch-size 16 --drop-prob 0,0.25 --guidance outer,dense --confirm off --out run"
    search += " --loss mse --mse-scale 0.5"
    (tmp_path / "c.yaml").write_text("candidates: 12\n")
    code, out, err = run(
        *search.split(), *"--config c.yaml + --resume run --budget 5".split(),
        *"+ train run/best.yaml --repeats 1 --out again".split(),
        *"+ export run --to out --formats script,torch --note by-me + shout run --upper".split(),
        *"+ export run --to more --formats more --models moreforms".split(),
        *"+ --resume run --budget 6 --mse-scale 2 --candidates 12".split(),
        cwd=tmp_path, ray=False,
    )  # fmt: skip
    assert code == 2, err
    refused = "--mse-scale 2: the run was started with 0.5; leave it out, or start a new run"
    assert err.splitlines()[-1] == f"dgkd-search: {refused}"
    assert "THIN2" in out.splitlines()
    assert (tmp_path / "more/student.more").read_bytes() == b"more"
    rows = trials(tmp_path / "run")
    assert [row["state"] in ("COMPLETE", "PRUNED") for row in rows] == [True] * 5
    assert (rows[0]["teacher"], rows[0]["student"]) == ("thin8", "thin2")
    assert (rows[1]["guidance"], rows[1]["assistants"]) == ("outer", "thin6>thin4")
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    chosen = {name: config[name] for name in ("sampler", "pruner", "dataset", "family", "loss")}
    assert chosen == {
        "sampler": "broad", "pruner": "quarter", "dataset": "noise", "family": "thin",
        "loss": "mse",
    }  # fmt: skip
    assert (config["candidates"], config["mse-scale"], "note" in config) == (12, 0.5, False)
    assert {row["temperature"] for row in rows} == {""}, "this loss has none"
    best = yaml.safe_load((tmp_path / "run/best.yaml").read_text())
    assert best["options"]["guidance"] == ["outer", "dense"]
    assert (best["options"]["loss"], best["loss"], best["temperature"]) == ("mse", "mse", None)
    assert (best["options"]["candidates"], best["options"]["mse-scale"]) == (12, 0.5)
    again = yaml.safe_load((tmp_path / "again/repeat-1/best.yaml").read_text())
    for stages in (best["stages"], again["stages"]):
        losses = [stage["distillation"]["loss"] for stage in stages if stage["distillation"]]
        assert {loss["origin"] for loss in losses} == {"extradistill.losses"}
        assert [loss["options"] for loss in losses] == [{"mse_scale": 0.5}] * len(losses)
    assert (tmp_path / "again/repeat-1/student.safetensors").is_file()
    assert {"student.ts", "student.pt2"} <= {path.name for path in (tmp_path / "out").iterdir()}
    card = (tmp_path / "out/README.md").read_text()
    assert 'torch.jit.load("student.ts")' in card
    assert "teacher, loss logit MSE (arXiv 2105.08919), mse-scale 0.5, weight 0.9\n" in card
    assert b"by-me" in (tmp_path / "out/student.ts").read_bytes()


def test_help_names_what_is_installed(site: Path, tmp_path: Path) -> None:
    install(site)
    (tmp_path / "mine.py").write_text(
        "from dgkd_search import Guidance, register_guidance, register_sampler\n"
        "from optuna.samplers import TPESampler\n\n"
        "class Last(Guidance):\n    name, method = 'last', 'LastKD'\n\n"
        "    def teachers(self, position):\n        return (position - 1,)\n\n"
        "register_guidance(Last)\n"
        "register_sampler('narrow', lambda seed: TPESampler(seed=seed), summary='weighs up few')\n"
    )
    words = "completion bash + export --help + --help --models mine + shout nowhere".split()
    code, out, err = run(*words, cwd=tmp_path, ray=False)
    assert (code, err) == (2, "dgkd-search: nowhere: is not a folder\n")
    script, _, help = out.rpartition("usage: dgkd-search [options]")
    assert "shout" in script and "broad" in script
    script, _, export = script.rpartition("usage: dgkd-search export")
    assert "--note" in script and "--mse-scale" in script
    assert "--note TEXT" in export and "--mse-scale" not in export
    assert "--note" not in help
    help = " ".join(help.split())
    for shown in (
        "dense, sequential, teacher, none, last, outer",
        "tpe, random, broad, narrow",
        "median, hyperband, sha, patient, none, quarter",
        "kl, dist, mse",
        "imagefolder, arrays, noise",
        "--candidates N that the sampler broad weighs up (96)",
        "--mse-scale X factor of the loss mse (1)",
        "dgkd-search shout RUN the student's name, loudly",
        "broad weighs up many chains",
        "quarter ends most",
        "narrow weighs up few",
    ):
        assert shown in help


def test_a_guidance_that_nobody_knows_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--guidance", "dense,outer", "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        "dgkd-search: --guidance dense,outer: unknown; choose from dense, sequential, teacher, "
        "none, or name your own module with --models\n"
    )


def test_a_package_that_cannot_be_loaded_is_named(site: Path, tmp_path: Path) -> None:
    install(site)
    (site / "extradistill/guidance.py").write_text("import nothing_like_that\n")
    for name in ("strategies", "options"):
        (site / f"extradistill/{name}.py").write_text("raise SystemExit('imported')\n")
    words = "--guidance dense --dry-run + --guidance outer --dry-run".split()
    code, _, err = run(*words, cwd=tmp_path, ray=False)
    (line,) = err.splitlines()  # the first search imports none of them
    assert code == 2
    assert "the installed module extradistill.guidance can't be imported" in line
    assert "No module named 'nothing_like_that'" in line
