"""Made-up rows of ``trial_rows``."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dgkd_search.results.trial_row import TrialRow

SVG = "{http://www.w3.org/2000/svg}"


def make_rows(*trials: dict[str, Any]) -> tuple[TrialRow, ...]:
    """Return trials numbered from 0: plain KD, with the given changes of each."""
    base: dict[str, Any] = {
        "state": "COMPLETE",
        "teacher": "resnet26",
        "student": "resnet8",
        "assistant_count": 0,
        "guidance": "dense",
    }
    return tuple(TrialRow(**(base | {"number": i} | each)) for i, each in enumerate(trials))


def trial(count: int, accuracy: float | None, **more: Any) -> dict[str, Any]:
    names = ("resnet20", "resnet14", "resnet11")[:count]
    return {"assistant_count": count, "val_accuracy": accuracy, "assistants": names} | more


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG, with normalized spaces."""
    root = ET.parse(path).getroot()
    found = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    return [" ".join(text.split()) for text in found]


def best_of(rows: Sequence[TrialRow]) -> int | None:
    """Return the number of the best trial of a study with these trials."""
    known = [row for row in rows if row.completed and row.val_accuracy is not None]
    known = [row for row in known if row.repeats_mean is not None] or known
    ranks = [
        (-(row.repeats_mean or row.val_accuracy or 0.0), row.assistant_count or 0, row.number)
        for row in known
    ]
    return min(ranks)[-1] if ranks else None
