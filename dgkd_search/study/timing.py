"""How long a search has taken, all of its sessions together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgkd_search.study.records import Attribute
from dgkd_search.study.replication import replicates
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.records import from_plain, to_plain


@dataclass(frozen=True)
class ElapsedTime:
    """What a search has taken so far.

    Attributes:
        seconds: of wall time, all sessions together.
        starting: seconds of workers before the first trial could begin, likewise.
    """

    seconds: float = 0.0
    starting: float = 0.0

    @classmethod
    def from_study(cls, study: ChainStudy) -> ElapsedTime:
        """As far as it was noted; a session that was killed counts up to its last trial's end."""
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
