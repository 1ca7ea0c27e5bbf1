"""Python blocks of docs/, run as they are printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.registries import isolate
from PIL import Image

from dgkd_search.cli.main import main
from dgkd_search.data.decoding import decode_images
from dgkd_search.data.decoding_rules import Decoding
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


def test_images_are_loaded_as_a_search_decodes_them(tmp_path: Path) -> None:
    """The block for other programs: every kind of image, at its own size and at two others."""
    namespace: dict[str, Any] = {}
    exec(block("data.md", "# load.py"), namespace)
    generator, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    color = Image.fromarray(generator.integers(0, 256, (40, 30, 4), np.uint8))
    color.save(tmp_path / "rgba.png", exif=exif)
    color.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    color.convert("LA").save(tmp_path / "la.png")
    color.quantize(9).save(tmp_path / "palette.gif")
    color.convert("RGB").convert("CMYK").save(tmp_path / "cmyk.tif")
    deep = Image.fromarray(generator.integers(0, 4096, (30, 30)).astype(np.uint16))
    deep.save(tmp_path / "deep.png", exif=exif)
    paths, values = sorted(tmp_path.iterdir()), (0, 4095)
    for channels, size in ((1, 30), (3, 30), (3, 16), (3, 64)):
        decoding = Decoding(background=(9, 99, 199), values=values)
        expected = decode_images(paths, channels, size, decoding)
        for path, pixels in zip(paths, expected, strict=True):
            loaded = namespace["load"](path, size, "#0963c7", values, gray=channels == 1)
            assert np.array_equal(np.atleast_3d(loaded).transpose(2, 0, 1), pixels), path.name
