"""The queue of a search: labels alone, the trials, and the replicates."""

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
    """Decides which trial or replicate runs next.

    Args:
        concurrency: number of trials at once.
        trained: returns whether the stage with a key is finished. A trial that would wait for a
            stage in training is deferred. None if trials share no stages.
        on_replication: called with the number of replicates once it is known.

    Attributes:
        held: trials that were sampled but have not begun, or that an earlier session began; they
            run first.
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
        # Labels alone and replicates whose workers were lost.
        self._returned: list[QueuedTrial] = []
        self._repeats: deque[Replicate] | None = None  # known once the trials are over
        self._certain: deque[Replicate] | None = None  # those that are known before
        self._repeated: set[tuple[int | None, int]] = set()  # trial and replicate of those begun

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been tried."""
        return not self._reference_due and self._study.exhausted

    @property
    def searched(self) -> bool:
        """Whether no further trial will begin."""
        done = self._study.finished >= self._study.config.budget and not self._reference_due
        return done or (self.exhausted and not self.held)

    def is_finished(self, running: Sequence[QueuedTrial]) -> bool:
        """Return whether nothing further will begin, however the running trials end."""
        if self._returned or not self.searched:
            return False
        if self._repeats is None and self._study.config.confirm_seeds:
            if any(not info.replicate for info, _ in running):
                return False  # the replicates depend on their results
            left, begun = choose_replicates(self._study, self._planner), self._repeated
            self._repeats = deque(r for r in left if (r.trial, r.replicate) not in begun)
            if self._repeats or begun:
                self._on_replication(len(self._repeats) + len(begun))
        return not self._repeats

    def next(self, running: Sequence[QueuedTrial]) -> QueuedTrial | None:
        """Return the next trial or replicate that may begin now, or None.

        The order is: labels alone, the trials, the replicates. The replicates of the baselines may
        begin while the last trials run, because Tune ends an idle worker.
        """
        if self._returned:
            return self._returned.pop(0)
        if self._reference_due and not self.searched:
            self._reference_due = False
            return self._make(None, self._planner.baseline())
        following = None if self.searched else self._following(running)
        return following or self._next_repeat()

    def put_back(self, queued: QueuedTrial) -> None:
        """Put back a trial or replicate whose worker was lost; it runs next."""
        info, _ = queued
        if info.replicate or info.number is None:
            self._returned.append(queued)
        else:
            self.held.insert(0, queued)

    def needed_first(self, stages: tuple[StageSpec, ...]) -> str:
        """Return the key of the first stage that isn't trained; the student's if all are."""
        trained = self._trained or (lambda key: False)
        return next((s.key for s in stages if not trained(s.key)), stages[-1].key)

    def _following(self, running: Sequence[QueuedTrial]) -> QueuedTrial | None:
        """Return the next trial, if possible one that doesn't have to wait for a stage.

        A trial that needs a stage that another trial is training would occupy a worker and wait.
        Up to ``concurrency`` such trials are held back; if every held one would wait, the first
        of them runs.
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
