"""An image folder."""

from pathlib import Path

import numpy as np
import pytest
from helpers.folders import save_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, ``a`` dark and ``b`` bright, of ten RGB images each."""
    generator = np.random.default_rng(0)
    for name, low in (("a", 0), ("b", 128)):
        for i in range(10):
            save_image(
                tmp_path / "data/train" / name / f"{i}.png",
                generator.integers(low, low + 100, (16, 16, 3)),
            )
    return tmp_path / "data"
