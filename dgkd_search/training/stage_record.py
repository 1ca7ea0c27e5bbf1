"""The description that the store keeps beside a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class StageRecord:
    """A stage, finished or not, and the results of its epochs.

    Attributes:
        spec: the stage.
        rows: results of the finished epochs; for pretrained weights one row with their accuracy.
    """

    spec: StageSpec
    rows: tuple[EpochMetrics, ...]

    @property
    def seconds(self) -> float:
        """Total wall time of its epochs."""
        return sum(row.seconds for row in self.rows)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types, for ``Store.put``."""
        return {"spec": self.spec.to_dict(), "rows": [to_plain(row) for row in self.rows]}

    @classmethod
    def from_json(cls, spec: StageSpec, description: Mapping[str, object]) -> StageRecord:
        """Build from a stored description.

        Args:
            spec: the stage whose key the description was stored under.
            description: the output of ``to_json``, possibly with other fields.

        Raises:
            ValueError: the rows are not an output of ``to_json``.
        """
        rows = from_plain(tuple[EpochMetrics, ...], description.get("rows"))
        if not 1 <= len(rows) <= spec.recipe.epochs:
            raise ValueError(f"rows: has {len(rows)} epochs of {spec.recipe.epochs}")
        return cls(spec, rows)
