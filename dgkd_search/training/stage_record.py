"""What the store keeps beside a model's weights: what it is, and how its training went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.training.metrics import EpochMetrics
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class StageRecord:
    """The description of a stage, finished or not.

    Attributes:
        rows: one an epoch; a single one for weights that a user brought along: their accuracy.
    """

    spec: StageSpec
    rows: tuple[EpochMetrics, ...]

    @property
    def seconds(self) -> float:
        """That all of its epochs took."""
        return sum(row.seconds for row in self.rows)

    def to_json(self) -> dict[str, object]:
        """Plain JSON types, as ``Store.put`` takes them."""
        return {"spec": self.spec.to_dict(), "rows": [to_plain(row) for row in self.rows]}

    @classmethod
    def from_json(cls, spec: StageSpec, description: Mapping[str, object]) -> StageRecord:
        """What the store describes.

        Args:
            spec: of the stage, by whose key the description was found.

        Raises:
            ValueError: its rows aren't what ``to_json`` writes.
        """
        return cls(spec, from_plain(tuple[EpochMetrics, ...], description.get("rows")))
