"""Chains that no other beats in both accuracy and training cost."""

from __future__ import annotations

import pandas as pd


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """Completed trials than which none is as accurate for less work, or more so for as much.

    Args:
        table: from ``trials_table``.

    Returns:
        Their rows, cheapest first; of equals the earlier.
    """
    known = table[(table["state"] == "COMPLETE") & table["training_tflop"].notna()]
    ordered = known.sort_values(
        ["training_tflop", "val_accuracy", "number"], ascending=[True, False, True]
    )
    best = ordered["val_accuracy"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["val_accuracy"] > best]


def chain_of(row: pd.Series) -> str:
    """``resnet26 > resnet14 > resnet8, drop 0.25``."""
    names = [row["teacher"], *row["assistants"].split(">"), row["student"]]
    drop = row["drop_probability"]
    return " > ".join(n for n in names if n) + ("" if pd.isna(drop) else f", drop {drop:g}")
