"""The end of a search: the best student picked, the test set read once, the results written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from dgkd_search.data import PreparedData
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import DgkdError, InputError, resume_hint
from dgkd_search.results.best import Accuracies, load_best, load_student, write_best
from dgkd_search.results.figures import draw_figures, teacher_accuracy
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.results.summary import Summary
from dgkd_search.results.verdict import tuned_note, tuned_values
from dgkd_search.results.work import total_work
from dgkd_search.store.store import Store
from dgkd_search.study.planner import Planner
from dgkd_search.study.replication import Replication
from dgkd_search.study.study import REFERENCE, ChainStudy, accuracy_of
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.evaluation import test_accuracy
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.hashing import UNREADABLE

TEST = "test"  # attribute of the study: what was read of the test set


def finish(
    run: RunFolder,
    study: ChainStudy,
    planner: Planner,
    open_store: Callable[[Sequence[StageSpec]], Store],
    data: PreparedData,
    log: Callable[[str], object],
    *,
    spent: ElapsedTime,
    concurrency: int,
    ended: str | None,
    aborted: bool = False,
    options: Mapping[str, Any],
) -> Summary:
    """Pick the best student (of the best configuration that was taught again with fresh seeds, the
    one of median accuracy), read the test set for it alone, and write the results.

    Args:
        open_store: gives the store of the trial that trained some stages.
        data: that it was trained on, should it have vanished from there.
        log: is given a line about each file that was damaged.
        spent: by the search so far.
        concurrency: trials at once.
        ended: why it ended before its budget, or None.
        aborted: whether it did because trials kept failing.
        options: all of the search's, by their names in a ``--config`` file.

    Raises:
        DgkdError: no trial completed.
    """
    best, replication, replicate = study.best(), Replication.from_study(study), 0
    if best is None:
        raise DgkdError(
            f"no trial completed{f': {ended}' if ended else ''}; once that is mended, "
            f"{resume_hint(run.path)}"
        )
    validation = accuracy_of(best)
    if replication is not None and (winner := replication.winner) is not None:
        best = next(trial for trial in study.trials if trial.number == winner.trial)
        replicate = winner.median
        validation = winner.values[replicate]
    configuration = study.configuration(best)
    stages = planner.stages(configuration, replicate)
    key = stages[-1].key
    previous = _previous_results(run, study, log)
    store = open_store(stages)
    weights = _weights(run, stages, store, data, previous)
    for note in store.notes:
        log(note)
    all_allowed = study.config.space.max_assistants == len(study.config.space.pool)
    accuracies = Accuracies(
        validation=validation,
        test=None,
        baseline=study.attributes.get(REFERENCE, {}).get("val_accuracy"),
        kd=_value(study.baseline_trial("kd")),
        full=_value(study.baseline_trial("full")) if all_allowed else None,
        teacher=teacher_accuracy(study),
    )
    write = functools.partial(
        write_best,
        run,
        trial=best.number,
        options=options,
        configuration=configuration,
        stages=stages,
        info=planner.info,
        weights=weights,
        replication=replication.describe(study) if replication is not None else None,
    )
    reads, problem = previous.test_reads, None
    accuracies = replace(accuracies, test=previous.tests.get(key))
    # Everything is safe before the test set is opened: it may be damaged, or gone.
    write(accuracies=accuracies, test_reads=reads)
    draw_figures(run, study)
    if accuracies.test is None:
        # Counted before it is read, or a stop in between would hide it.
        study.set_attribute(TEST, {"reads": reads + 1, "accuracies": previous.tests})
        test, problem = test_accuracy(study.config.data, planner.info, stages[-1], weights)
        reads += test is not None
        tests = previous.tests | ({key: test} if test is not None else {})
        study.set_attribute(TEST, {"reads": reads, "accuracies": tests})
        accuracies = replace(accuracies, test=test)
        write(accuracies=accuracies, test_reads=reads)
    return Summary(
        run=run.path,
        trial=best.number,
        configuration=configuration,
        accuracies=accuracies,
        work=total_work(study, spent, concurrency),
        budget=study.config.budget,
        seconds=spent.seconds,
        validation_count=planner.info.validation_count,
        test_reads=reads,
        test_problem=problem,
        replication=replication,
        unreplicated=bool(study.config.confirm_seeds) and not replicate,
        tuned=(
            tuned_values(configuration, study.config.space.tune),
            tuned_note(study.config, configuration),
        ),
        front=_front(study),
        ended=ended,
        aborted=aborted,
    )


def _front(study: ChainStudy) -> tuple[str, ...]:
    """The chains that no other beats in accuracy and cost, where both are sought."""
    if len(study.config.objectives) == 1:
        return ()
    from dgkd_search.results.pareto import chain_of, pareto_front
    from dgkd_search.results.table import trials_table

    return tuple(
        f"{row['val_accuracy']:.2f} % for {row['training_tflop']:.3g} TFLOP: {chain_of(row)} "
        f"(trial {row['number']})"
        for _, row in pareto_front(trials_table(study)).iterrows()
    )


@dataclass(frozen=True)
class PreviousResults:
    """What earlier ends of the search have left.

    Attributes:
        shipped: key of the student in the run folder, if that is whole.
        tests: test accuracies in percent that are known, by student's key.
        test_reads: how often the test set was read.
    """

    shipped: str | None
    tests: dict[str, float]
    test_reads: int


def _previous_results(
    run: RunFolder, study: ChainStudy, log: Callable[[str], object]
) -> PreviousResults:
    noted = study.attributes.get(TEST, {"reads": 0, "accuracies": {}})
    reads, shipped = noted["reads"], None
    if run.best.exists():
        try:
            load_student(run.path)  # compares checksums
            best = load_best(run.best)
            shipped, reads = best["stages"][-1]["key"], max(reads, int(best["test_reads"]))
        except (InputError, *UNREADABLE):
            for path in (run.best, run.student):
                run.quarantine(path)
            names = f"{run.best.name} and {run.student.name}"
            log(f"{run.path}: {names} are damaged; set aside in {run.damaged}, written again")
    return PreviousResults(shipped, noted["accuracies"], reads)


def _weights(
    run: RunFolder,
    stages: Sequence[StageSpec],
    store: Store,
    data: PreparedData,
    previous: PreviousResults,
) -> bytes:
    """The best student's, from the store; made again where they are gone or damaged."""
    entry = store.get(stages[-1].key)
    if entry is None and previous.shipped == stages[-1].key:
        return run.student.read_bytes()
    if entry is None:
        Trial(stages, data, store).run()
        entry = store.get(stages[-1].key)
    if entry is None:
        raise DgkdError(f"the best student vanishes from the store {store.root}; look at its disk")
    return entry.tensors


def _value(trial: FrozenTrial | None) -> float | None:
    return accuracy_of(trial) if trial and trial.state == TrialState.COMPLETE else None
