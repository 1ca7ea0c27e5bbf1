"""What a search runs next: the student alone, its trials, and what is taught again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dgkd_search.callbacks.events import TrialInfo
from dgkd_search.distillation.guidances.registry import NO_GUIDANCE
from dgkd_search.study.planner import Planner
from dgkd_search.study.records import REFERENCE
from dgkd_search.study.replication import Replicate, baseline_replicates, choose_replicates
from dgkd_search.study.space import Configuration
from dgkd_search.study.study import ChainStudy
from dgkd_search.training.spec import StageSpec

QueuedTrial = tuple[TrialInfo, tuple[StageSpec, ...]]


class TrialQueue:
    """Knows the study and the plan, not what becomes of the trials.

    Args:
        concurrency: trials at once.
        trained: says whether a stage of some key is finished, so that a trial that would only
            wait for one in training lets others go first; None where trials share no stages.
        on_replication: is told how many students are taught again, once that is known.

    Attributes:
        held: trials that were drawn and not begun, or begun by an earlier session: those go first.
    """

    def __init__(
        self,
        study: ChainStudy,
        planner: Planner,
        concurrency: int,
        trained: Callable[[str], bool] | None,
        on_replication: Callable[[int], object],
    ) -> None:
        self._study = study
        self._planner = planner
        self._concurrency = concurrency
        self._trained = trained
        self._on_replication = on_replication
        self.held = [
            self._make(proposal.number, proposal.configuration)
            for proposal in study.resume_running()
        ]
        reference = study.read(REFERENCE)
        due = reference is None or reference.retryable
        self._reference_due = study.config.reference and due
        self._returned: list[
            QueuedTrial
        ] = []  # no trials: the student alone, and what is taught again
        self._repeats: deque[Replicate] | None = None  # known once the trials are over
        self._certain: deque[Replicate] | None = None  # those of them that are known before
        self._repeated: set[tuple[int | None, int]] = set()  # trials and replicates, begun

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been tried."""
        return not self._reference_due and self._study.exhausted

    @property
    def searched(self) -> bool:
        """Whether no further trial is to begin."""
        done = self._study.finished >= self._study.config.budget and not self._reference_due
        return done or (self.exhausted and not self.held)

    def is_finished(self, running: Sequence[QueuedTrial]) -> bool:
        """Whether nothing further is to begin, whatever becomes of what is running."""
        if self._returned or not self.searched:
            return False
        if self._repeats is None and self._study.config.confirm_seeds:
            if any(not info.replicate for info, _ in running):
                return False  # what is taught again depends on how they end
            left, begun = choose_replicates(self._study, self._planner), self._repeated
            self._repeats = deque(r for r in left if (r.trial, r.replicate) not in begun)
            if self._repeats or begun:
                self._on_replication(len(self._repeats) + len(begun))
        return not self._repeats

    def next(self, running: Sequence[QueuedTrial]) -> QueuedTrial | None:
        """The next trial, if one may begin beside those that are running.

        The student alone comes first, then the trials, and when all of them have ended, what is
        taught again; while the last trials run, what will be in any case, for Tune ends a worker
        that has nothing to do.
        """
        if self._returned:
            return self._returned.pop(0)
        if self._reference_due and not self.searched:
            self._reference_due = False
            return self._make(None, self._planner.baseline())
        following = None if self.searched else self._following(running)
        return following or self._next_repeat()

    def put_back(self, queued: QueuedTrial) -> None:
        """Have a trial that was begun be the next one."""
        info, _ = queued
        if info.replicate or info.number is None:
            self._returned.append(queued)
        else:
            self.held.insert(0, queued)

    def needed_first(self, stages: tuple[StageSpec, ...]) -> str:
        """Key of the first stage that isn't trained yet; the student's where all are."""
        trained = self._trained or (lambda key: False)
        return next((s.key for s in stages if not trained(s.key)), stages[-1].key)

    def _following(self, running: Sequence[QueuedTrial]) -> QueuedTrial | None:
        """The next trial: one that can go to work at once, if a few draws find one.

        A trial that needs a stage which another is training would hold its place and wait. As
        many as run at once are held back for others; then the first of them goes, and waits.
        """
        busy = {self.needed_first(stages) for _, stages in running} if self._trained else set()
        for i, (_, stages) in enumerate(self.held):
            if self.needed_first(stages) not in busy:
                return self.held.pop(i)
        while len(self.held) < self._concurrency:
            drawn = self._draw()
            if drawn is None:
                break
            if self.needed_first(drawn[1]) not in busy:
                return drawn
            self.held.append(drawn)
        return self.held.pop(0) if self.held else None

    def _draw(self) -> QueuedTrial | None:
        if self._study.finished + self._study.live >= self._study.config.budget:
            return None
        proposal = self._study.ask()
        return self._make(proposal.number, proposal.configuration) if proposal else None

    def _next_repeat(self) -> QueuedTrial | None:
        queue = self._repeats
        if queue is None and self._study.config.confirm_seeds:
            if self._certain is None:
                self._certain = deque(baseline_replicates(self._study, self._planner))
            queue = self._certain
        if not queue:
            return None
        repeat = queue.popleft()
        self._repeated.add((repeat.trial, repeat.replicate))
        return self._make(repeat.trial, repeat.configuration, repeat.replicate)

    def _make(
        self, number: int | None, configuration: Configuration, replicate: int = 0
    ) -> QueuedTrial:
        chain = configuration.chain.canonical()
        guidance = NO_GUIDANCE if number is None else chain.guidance
        info = TrialInfo(number, chain.models, guidance, configuration.drop_prob, replicate)
        return info, self._planner.stages(configuration, replicate)
