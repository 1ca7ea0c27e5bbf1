"""Commands, messages, columns and links in docs/ and in the README are correct."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.main import main
from dgkd_search.cli.parser import ArgumentParser
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.errors import InputError
from dgkd_search.results.trial_row import COLUMNS

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT, *(ROOT / name for name in ("docs", "experiments", "analysis")))
PAGES = sorted(path for folder in FOLDERS for path in folder.glob("*.md"))
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}


class Understood(Exception):
    """A command line has been parsed."""


def commands(text: str) -> list[str]:
    """Return the command lines in code blocks; continued lines are joined."""
    joined = re.sub(r" *\\\n +", " ", text)
    found = re.findall(r"^ +(?:\$ )?(dgkd-search\b.*)$", joined, re.MULTILINE)
    return [re.split(r"\s{2,}#|\s[|>]\s", line)[0].strip() for line in found]


ALL = sorted({(name, line) for name, text in TEXTS.items() for line in commands(text)})


@pytest.mark.parametrize(("page", "line"), ALL)
def test_every_command_is_one(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command line is parsed; other tests check what it does."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    if words and words[0] in COMMANDS.names():
        parse = ArgumentParser.parse

        def understood(parser: ArgumentParser, given: Sequence[str]) -> None:
            parse(parser, given)
            raise Understood

        monkeypatch.setattr(ArgumentParser, "parse", understood)
        with pytest.raises(Understood):
            COMMANDS.get(words[0]).run(words[1:])
        return
    values = vars(search_parser().parse(words))
    given = [name for name, value in values.items() if value is not None]
    assert len(given) == sum(word.startswith("--") for word in words)


@pytest.mark.parametrize(
    "line", [line for page, line in ALL if page == "docs/options.md" and "--dry-run" in line]
)
def test_previews_run(
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(shlex.split(line)[1:]) == 0
    assert "budget" in capsys.readouterr().out


def test_there_are_commands() -> None:
    assert len(ALL) > 25


def test_every_option_that_is_named_exists() -> None:
    flags = {flag for action in search_parser()._actions for flag in action.option_strings}
    flags |= {"--to", "--formats", "--repeats", "--verify", "--free", "--older-than", "--no-ray"}
    scripts = {"--scale", "--workers", "--json", "--preset", "--n", "--runs", "--table", "--seeds"}
    foreign = {"--upgrade", "--port", "--head", "--address", "--logdir", "--block", "--nodes"}
    foreign |= {"--ntasks", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--time"}
    foreign |= {"--disable-usage-stats", "--generate", "--num-cpus"}  # options of ray
    foreign |= {"--exclude", "--thorough", "--dist", "--check", "--set", "--ways", "--small"}
    foreign |= {"--resolution", "--python-version", "--all-extras", "--no-deps"}  # options of uv
    foreign |= {"--disable-pip", "--quiet", "--strict"}  # options of pip-audit and mkdocs
    foreign |= {"--mse-scale", "--candidates"}  # options of the examples in docs/extending.md
    named = {
        (name, flag)
        for name, text in TEXTS.items()
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
    }
    unknown = {(name, flag) for name, flag in named if flag not in flags | scripts | foreign}
    assert not unknown


def test_every_message_in_troubleshooting_is_the_programs_own() -> None:
    code = " ".join(path.read_text() for path in (ROOT / "dgkd_search").rglob("*.py"))
    code = re.sub(r'"\s*\n?\s*f?"', "", re.sub(r"\s+", " ", code))
    rows = re.findall(r"^\| `(.*?)` \|", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    assert len(rows) > 10
    assert [row for row in rows if row not in code] == []


def test_every_column_is_documented() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", TEXTS["docs/report.md"], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(COLUMNS)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in anchors, target


def test_bad_commands_would_be_found() -> None:
    with pytest.raises(InputError):
        search_parser().parse(["--budgets", "3"])
