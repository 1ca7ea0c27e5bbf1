"""How long a search has taken, all of its sessions together."""

from __future__ import annotations

from dataclasses import dataclass

from dgkd_search.study.replication import replicate_facts
from dgkd_search.study.study import ChainStudy

_SPENT = "spent"  # attribute of the study


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
        noted = study.attributes.get(_SPENT, {})
        facts = [*map(study.facts, study.trials), *replicate_facts(study)]
        ends = [fact.get("elapsed", 0.0) for fact in facts]
        return cls(max([noted.get("seconds", 0.0), *ends]), noted.get("starting", 0.0))

    def note(self, study: ChainStudy) -> None:
        study.set_attribute(_SPENT, {"seconds": self.seconds, "starting": self.starting})
