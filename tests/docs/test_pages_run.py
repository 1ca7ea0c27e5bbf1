"""Python blocks of docs/, run as they are printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from helpers.registries import isolate

from dgkd_search.cli.main import main
from dgkd_search.workflows.single_chain import plan, run_trial

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, first: str) -> str:
    """Return the only Python block of a page that begins with this line."""
    text = (DOCS / page).read_text()
    (code,) = re.findall(rf"```python\n({re.escape(first)}\n.*?)```", text, re.DOTALL)
    return str(code)


def test_models_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    isolate(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = block("models.md", "# mymodels.py")
    assert len(code.splitlines()) <= 20
    Path("mymodels.py").write_text(code)
    try:
        assert main(["--models", "mymodels", "--dry-run"]) == 0
        assert "large > small > mini" in capsys.readouterr().out
        stages, data = plan(
            ["large", "small", "mini"], models="mymodels", train_limit=100, epochs=2, lr=0.02
        )
        result = run_trial(stages, data)
    finally:
        sys.modules.pop("mymodels", None)
    assert [stage.name for stage in result.stages] == ["large", "small", "mini"]
    assert result.stages[-1].finished


def test_arrays_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exec(block("data.md", "# mine.py"), {})
    assert main(["--dataset", "arrays", "--data-dir", "mine.npz", "--dry-run"]) == 0
    stages, data = plan(
        ["plain2-c10"], dataset="arrays", data_dir="mine.npz", family="plain-c10", epochs=1
    )
    assert data.info.classes == ("left", "right")
    assert run_trial(stages, data).stages[-1].finished
