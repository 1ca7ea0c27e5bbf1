"""What a search runs next: the student alone, its trials, and what is taught again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dgkd_search.confirmation import Repeat, choose, rivals
from dgkd_search.identity import StageSpec
from dgkd_search.observer import Job
from dgkd_search.planner import Planner
from dgkd_search.space import Configuration
from dgkd_search.study import AGAIN, REFERENCE, ChainStudy

Task = tuple[Job, tuple[StageSpec, ...]]


class Agenda:
    """Knows the study and the plan, not what becomes of the jobs.

    Args:
        concurrency: jobs at once.
        trained: says whether a stage of some key is finished, so that a trial that would only
            wait for one in training lets others go first; None where trials share no stages.
        confirming: is told how many students are taught again, once that is known.

    Attributes:
        held: trials that were drawn and not begun, or begun by an earlier session: those go first.
    """

    def __init__(
        self,
        study: ChainStudy,
        planner: Planner,
        concurrency: int,
        trained: Callable[[str], bool] | None,
        confirming: Callable[[int], object],
    ) -> None:
        self._study = study
        self._planner = planner
        self._concurrency = concurrency
        self._trained = trained
        self._confirming = confirming
        self.held = [
            self._task(proposal.number, proposal.configuration) for proposal in study.adopt()
        ]
        reference = study.attributes.get(REFERENCE, {AGAIN: True})
        self._reference_due = study.config.reference and reference.get(AGAIN, False)
        self._returned: list[Task] = []  # no trials: the student alone, and what is taught again
        self._repeats: deque[Repeat] | None = None  # known once the trials are over
        self._certain: deque[Repeat] | None = None  # those of them that are known before
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

    def over(self, running: Sequence[Task]) -> bool:
        """Whether nothing further is to begin, whatever becomes of what is running."""
        if self._returned or not self.searched:
            return False
        if self._repeats is None and self._study.config.confirm_seeds:
            if any(not job.replicate for job, _ in running):
                return False  # what is taught again depends on how they end
            left, begun = choose(self._study, self._planner), self._repeated
            self._repeats = deque(r for r in left if (r.trial, r.replicate) not in begun)
            if self._repeats or begun:
                self._confirming(len(self._repeats) + len(begun))
        return not self._repeats

    def next(self, running: Sequence[Task]) -> Task | None:
        """The next job, if one may begin beside those that are running.

        The student alone comes first, then the trials, and when all of them have ended, what is
        taught again; while the last trials run, what will be in any case, for Tune ends a worker
        that has nothing to do.
        """
        if self._returned:
            return self._returned.pop(0)
        if self._reference_due and not self.searched:
            self._reference_due = False
            return self._task(None, self._planner.alone())
        following = None if self.searched else self._following(running)
        return following or self._next_repeat()

    def put_back(self, task: Task) -> None:
        """Have a job that was begun be the next one."""
        job, _ = task
        if job.replicate or job.number is None:
            self._returned.append(task)
        else:
            self.held.insert(0, task)

    def needed_first(self, stages: tuple[StageSpec, ...]) -> str:
        """Key of the first stage that isn't trained yet; the student's where all are."""
        trained = self._trained or (lambda key: False)
        return next((s.key for s in stages if not trained(s.key)), stages[-1].key)

    def _following(self, running: Sequence[Task]) -> Task | None:
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

    def _draw(self) -> Task | None:
        if self._study.finished + self._study.live >= self._study.config.budget:
            return None
        proposal = self._study.ask()
        return self._task(proposal.number, proposal.configuration) if proposal else None

    def _next_repeat(self) -> Task | None:
        queue = self._repeats
        if queue is None and self._study.config.confirm_seeds:
            if self._certain is None:
                self._certain = deque(rivals(self._study, self._planner))
            queue = self._certain
        if not queue:
            return None
        repeat = queue.popleft()
        self._repeated.add((repeat.trial, repeat.replicate))
        return self._task(repeat.trial, repeat.configuration, repeat.replicate)

    def _task(self, number: int | None, configuration: Configuration, replicate: int = 0) -> Task:
        chain = configuration.chain.canonical()
        guidance = "none" if number is None else chain.guidance
        job = Job(number, chain.models, guidance, configuration.drop_prob, replicate)
        return job, self._planner.stages(configuration, replicate)
