"""Tables of trials for tests, as ``trials_table`` makes them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd

from dgkd_search.results.trial_row import COLUMNS

SVG = "{http://www.w3.org/2000/svg}"


def make_table(*rows: dict[str, Any]) -> pd.DataFrame:
    base = {
        "state": "COMPLETE",
        "teacher": "resnet26",
        "student": "resnet8",
        "assistants": "",
        "assistant_count": 0,
        "guidance": "dense",
    }
    full = [base | {"number": i} | row for i, row in enumerate(rows)]
    return pd.DataFrame(
        {
            name: pd.Series(
                [row.get(name, "" if dtype == "string" else None) for row in full], dtype=dtype
            )
            for name, dtype in COLUMNS.items()
        }
    )


def trial(count: int, accuracy: float | None, **more: Any) -> dict[str, Any]:
    names = ("resnet20", "resnet14", "resnet11")[:count]
    return {
        "assistant_count": count,
        "val_accuracy": accuracy,
        "assistants": ">".join(names),
    } | more


def texts(path: Path) -> list[str]:
    """What a reader of the SVG reads, spaces normalized."""
    root = ET.parse(path).getroot()
    found = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    return [" ".join(text.split()) for text in found]


def best_of(table: pd.DataFrame) -> int | None:
    """The number of the trial that a study of these trials would call the best."""
    known = table[(table["state"] == "COMPLETE") & table["val_accuracy"].notna()]
    again = known[known["repeats_mean"].notna()]
    value = "repeats_mean" if len(again) else "val_accuracy"
    ranks = [value, "assistant_count", "number"]
    ranked = (again if len(again) else known).sort_values(ranks, ascending=[False, True, True])
    return int(ranked["number"].iloc[0]) if len(ranked) else None
