"""The end of a search: choose the best student, read the test set once, write the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from dgkd_search.callbacks.teacher_check import weak_teacher_note
from dgkd_search.data import DataInfo, PreparedData
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import DgkdError, InputError, resume_hint
from dgkd_search.results.best import load_best, load_student, write_best
from dgkd_search.results.best_config import Accuracies, BestConfig
from dgkd_search.results.figures import draw_figures
from dgkd_search.results.pareto import pareto_front
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.results.trial_row import trial_rows
from dgkd_search.results.verdict import tuned_note, tuned_values
from dgkd_search.results.work import total_work
from dgkd_search.store.store import Store
from dgkd_search.study.baselines import baseline_accuracy, teacher_accuracy
from dgkd_search.study.planner import Planner
from dgkd_search.study.records import TEST, TestReads
from dgkd_search.study.replication import Replication
from dgkd_search.study.space import Configuration
from dgkd_search.study.study import ChainStudy, accuracy_of
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.evaluation import test_accuracy
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.hashing import UNREADABLE
from dgkd_search.utils.log import Log
from dgkd_search.workflows.preparation import PreparedSearch


@dataclass(frozen=True)
class SearchEnd:
    """How the trials of a search ended.

    Attributes:
        spent: time that the search has taken.
        reason: why it ended before its budget, or None.
        aborted: whether it ended because trials kept failing.
    """

    spent: ElapsedTime
    reason: str | None = None
    aborted: bool = False


@dataclass(frozen=True)
class Winner:
    """The student that a search selects.

    Attributes:
        trial: number of the trial with its configuration; None for labels alone.
        replicate: number of its seed, 0 for the trial itself.
        stages: stages that train it.
        validation: validation accuracy in percent.
        replication: the replicates of the search, or None.
    """

    trial: int | None
    replicate: int
    configuration: Configuration
    stages: tuple[StageSpec, ...]
    validation: float
    replication: Replication | None


def finish(search: PreparedSearch, study: ChainStudy, end: SearchEnd, log: Log) -> Summary:
    """Choose the best student, read the test set for it only, and write the results.

    Args:
        log: is called with a line about each damaged file.

    Raises:
        DgkdError: no trial completed.
    """
    run, planner = search.run, search.planner
    winner = _choose(run, study, planner, end.reason)
    previous = _previous_results(run, study, log)
    store = search.stores.open(winner.stages)
    weights = _weights(run, winner.stages, store, search.data, previous)
    for note in store.notes:
        log(note)
    known = previous.tests.accuracies.get(winner.stages[-1].key)
    accuracies = _accuracies(study, winner.validation, known)
    best = BestConfig.of(
        winner.trial,
        winner.configuration,
        winner.stages,
        planner.info,
        accuracies,
        options=search.definition.options,
        test_reads=previous.tests.reads,
        confirmation=winner.replication.report(study) if winner.replication else None,
    )
    # Write everything before the test set is opened, which may be damaged or missing.
    write_best(run, best, weights)
    draw_figures(run, study)
    problem = None
    if known is None:
        tests, problem = _read_test(study, planner.info, winner.stages[-1], weights, previous.tests)
        test = tests.accuracies.get(winner.stages[-1].key)
        accuracies = replace(accuracies, test=test)
        best = replace(best, test_accuracy=test, test_reads=tests.reads)
        write_best(run, best, weights)
    weak = weak_teacher_note(study.config.space.teacher, accuracies.teacher, accuracies.baseline)
    return Summary(
        run=run.path,
        trial=winner.trial,
        configuration=winner.configuration,
        accuracies=accuracies,
        work=total_work(study, end.spent, search.resources.concurrency),
        budget=study.config.budget,
        seconds=end.spent.seconds,
        validation_count=planner.info.validation_count,
        test_reads=best.test_reads,
        test_problem=problem,
        replication=winner.replication,
        unreplicated=bool(study.config.confirm_seeds) and not winner.replicate,
        notes=() if weak is None else (weak,),
        tuned=(
            tuned_values(winner.configuration, study.config.space.tune),
            tuned_note(study.config, winner.configuration),
        ),
        front=_front(study),
        ended=end.reason,
        aborted=end.aborted,
    )


def _choose(run: RunFolder, study: ChainStudy, planner: Planner, ended: str | None) -> Winner:
    """Choose the configuration with the best mean over its replicates, and its median student.

    Without replicates the best trial is chosen.

    Raises:
        DgkdError: no trial completed.
    """
    best, replication = study.best(), Replication.from_study(study)
    if best is None:
        raise DgkdError(
            f"no trial completed{f': {ended}' if ended else ''}; remove the cause, then "
            f"{resume_hint(run.path)}"
        )
    number: int | None = best.number
    replicate, validation = 0, accuracy_of(best)
    if replication is not None and (stats := replication.winner) is not None:
        number, replicate = stats.trial, stats.median
        validation = stats.values[replicate]
    configuration = planner.baseline()
    if number is not None:
        configuration = study.configuration(study.trials[number])
    stages = planner.stages(configuration, replicate)
    return Winner(number, replicate, configuration, stages, validation, replication)


def _accuracies(study: ChainStudy, validation: float, test: float | None) -> Accuracies:
    """Collect the accuracies of the chosen student and of the baselines."""
    all_allowed = study.config.space.max_assistants == len(study.config.space.pool)
    return Accuracies(
        validation=validation,
        test=test,
        baseline=baseline_accuracy(study),
        kd=_value(study.baseline_trial("kd")),
        full=_value(study.baseline_trial("full")) if all_allowed else None,
        teacher=teacher_accuracy(study),
    )


def _read_test(
    study: ChainStudy, info: DataInfo, student: StageSpec, weights: bytes, known: TestReads
) -> tuple[TestReads, str | None]:
    """Read the test set for a student.

    Returns:
        The updated record of test reads, and why the test set couldn't be read, or None.
    """
    # Count the read first: an interruption in between would hide it.
    study.write(TEST, replace(known, reads=known.reads + 1))
    test, problem = test_accuracy(study.config.data, info, student, weights)
    if test is not None:
        accuracies = {**known.accuracies, student.key: test}
        known = TestReads(known.reads + 1, accuracies)
    study.write(TEST, known)
    return known, problem


def _front(study: ChainStudy) -> tuple[str, ...]:
    """Describe the Pareto front of accuracy and cost; empty for a single objective."""
    if len(study.config.objectives) == 1:
        return ()
    return tuple(
        f"{row.val_accuracy:.2f} % for {row.training_tflop:.3g} TFLOP: {row.chain} "
        f"(trial {row.number})"
        for row in pareto_front(trial_rows(study))
    )


@dataclass(frozen=True)
class PreviousResults:
    """Results that an earlier session has written.

    Attributes:
        shipped: key of the student in the run folder, or None if the student is missing or damaged.
        tests: reads of the test set so far.
    """

    shipped: str | None
    tests: TestReads


def _previous_results(run: RunFolder, study: ChainStudy, log: Log) -> PreviousResults:
    tests, shipped = study.read(TEST) or TestReads(), None
    if run.best.exists():
        try:
            load_student(run.path)  # verifies checksums
            best = load_best(run.path)
            shipped = best.stages[-1].key
            tests = replace(tests, reads=max(tests.reads, best.test_reads))
        except (InputError, *UNREADABLE):
            for path in (run.best, run.student):
                run.quarantine(path)
            names = f"{run.best.name} and {run.student.name}"
            log(f"{run.path}: {names} are damaged; moved to {run.damaged}, written again")
    return PreviousResults(shipped, tests)


def _weights(
    run: RunFolder,
    stages: Sequence[StageSpec],
    store: Store,
    data: PreparedData,
    previous: PreviousResults,
) -> bytes:
    """Return the student's weights from the store; train it again if they are missing."""
    entry = store.get(stages[-1].key)
    if entry is None and previous.shipped == stages[-1].key:
        return run.student.read_bytes()
    if entry is None:
        Trial(stages, data, store).run()
        entry = store.get(stages[-1].key)
    if entry is None:
        raise DgkdError(f"the best student disappeared from the store {store.root}; check its disk")
    return entry.tensors


def _value(trial: FrozenTrial | None) -> float | None:
    return accuracy_of(trial) if trial and trial.state == TrialState.COMPLETE else None
