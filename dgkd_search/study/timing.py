"""The elapsed time of a search over all its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.study.records import Attribute
from dgkd_search.study.replication import replicates
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class ElapsedTime:
    """The elapsed time of a search so far.

    Attributes:
        seconds: wall time, summed over sessions.
        starting: worker seconds before the first trial could begin, summed over sessions.
    """

    seconds: float = 0.0
    starting: float = 0.0

    @classmethod
    def from_study(cls, study: ChainStudy) -> ElapsedTime:
        """Read the time of a study; a killed session counts up to the end of its last trial."""
        noted = study.read(_SPENT) or cls()
        stats = [*map(study.stats, study.trials), *(each.stats for each in replicates(study))]
        ends = [each.elapsed or 0.0 for each in stats if each is not None]
        return cls(max([noted.seconds, *ends]), noted.starting)

    def note(self, study: ChainStudy) -> None:
        study.write(_SPENT, self)

    def to_json(self) -> dict[str, object]:
        return to_plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ElapsedTime:
        return from_plain(cls, value)


_SPENT = Attribute("spent", ElapsedTime)
