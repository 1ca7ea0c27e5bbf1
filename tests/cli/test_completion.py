from __future__ import annotations

import shutil
import subprocess
from argparse import SUPPRESS
from pathlib import Path

import pytest

from dgkd_search.cli.commands import COMMANDS
from dgkd_search.cli.main import main
from dgkd_search.cli.search_parser import search_parser
from dgkd_search.data.kinds import dataset_names
from dgkd_search.training.recipe import SCHEDULES

# As bash on Tab: set these variables, call the function, read its answers.
TAB = """
source ./script
eval set -- $(complete -p dgkd-search)
while [ "$1" != -F ]; do shift; done
COMP_WORDS=({words}) COMP_CWORD=$(({count} - 1)) COMP_TYPE=9
"$2" dgkd-search "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion")
    (path / "photos").mkdir()
    (path / "search.yaml").touch()
    return path


def answers(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    assert main(["completion", "bash"]) == 0
    (folder / "script").write_text(capsys.readouterr().out)
    quoted = " ".join(f'"{word}"' for word in ("dgkd-search", *words))
    script = TAB.format(words=quoted, count=len(words) + 1)
    bash = ["bash", "--norc", "-ec", script]
    done = subprocess.run(bash, cwd=folder, capture_output=True, text=True, check=True)
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answers(folder, capsys, "--sche") == {"--schedule"}
    assert answers(folder, capsys, "--schedule", "") == set(SCHEDULES)
    assert answers(folder, capsys, "--dataset", "cif") == {
        d for d in dataset_names() if d[:3] == "cif"
    }
    assert answers(folder, capsys, "--family", "plain") == {"plain", "plain-c10"}
    assert set(COMMANDS.names()) <= answers(folder, capsys, "")
    assert answers(folder, capsys, "exp") == {"export"}
    assert "--formats" in answers(folder, capsys, "export", "--")
    assert answers(folder, capsys, "--config", "sea") == {"search.yaml"}
    assert answers(folder, capsys, "export", "photos", "--to", "p") == {"photos"}


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for action in search_parser()._actions:
        for flag in action.option_strings if action.help != SUPPRESS else ():
            assert flag.lstrip("-") in script


def test_an_unknown_shell_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "fish" in error
    assert "bash" in error
