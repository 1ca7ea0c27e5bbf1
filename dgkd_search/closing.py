"""The end of a search: the best student picked, the test set read once, the results written."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState

from dgkd_search.config import StudyConfig
from dgkd_search.data import DataInfo, has_test, load_test
from dgkd_search.device import Normalise, accuracy, cores, in_batches
from dgkd_search.errors import DgkdError, InputError
from dgkd_search.identity import StageSpec
from dgkd_search.numerics import deterministic
from dgkd_search.planner import Planner
from dgkd_search.recipe import Numerics
from dgkd_search.results.best import Accuracies, write_best
from dgkd_search.results.plot import plot_accuracy
from dgkd_search.results.run import RunFolder
from dgkd_search.results.summary import Summary, Work
from dgkd_search.results.table import trials_table
from dgkd_search.store import Store
from dgkd_search.study import REFERENCE, ChainStudy
from dgkd_search.weights import load_model


def finish(
    run: RunFolder,
    study: ChainStudy,
    planner: Planner,
    open_store: Callable[[Sequence[StageSpec]], Store],
    *,
    began: float,
    started: float,
    concurrency: int,
    ended: str | None,
) -> Summary:
    """Pick the best student, read the test set for it alone, and write the results.

    Args:
        open_store: gives the store of the trial that trained some stages.
        began: when the search did, on ``time.monotonic``.
        started: seconds until its first trial could.
        concurrency: trials at once.
        ended: why it ended before its budget, or None.

    Raises:
        DgkdError: no trial completed.
    """
    best = study.best()
    if best is None or best.value is None:
        raise DgkdError(
            f"no trial completed{f': {ended}' if ended else ''}; the trials lie in {run.path}"
        )
    configuration = study.configuration(best)
    stages = planner.stages(configuration)
    store = open_store(stages)
    entry = store.get(stages[-1].key)
    if entry is None:
        raise DgkdError(f"the best student vanished from the store {store.root}; search again")
    whole = study.config.space.max_assistants == len(study.config.space.pool)
    accuracies = Accuracies(
        validation=best.value,
        test=None,
        alone=study.attributes.get(REFERENCE, {}).get("val_accuracy"),
        kd=_value(study.first("kd")),
        full=_value(study.first("full")) if whole else None,
        teacher=teacher_accuracy(study),
    )
    write = functools.partial(
        write_best,
        run,
        trial=best.number,
        configuration=configuration,
        stages=stages,
        info=planner.info,
        weights=entry.tensors,
    )
    # Everything is safe before the test set is opened: it may be damaged, or gone.
    write(accuracies=accuracies, test_reads=0)
    draw(run, study)
    test, problem = _test_accuracy(study.config, planner.info, stages[-1], entry.tensors)
    if test is not None:
        accuracies = replace(accuracies, test=test)
        write(accuracies=accuracies, test_reads=1)
    return Summary(
        run=run.path,
        trial=best.number,
        configuration=configuration,
        accuracies=accuracies,
        work=_work(study, started, concurrency),
        budget=study.config.budget,
        seconds=time.monotonic() - began,
        validation_count=planner.info.validation_count,
        test_problem=problem,
        ended=ended,
    )


def draw(run: RunFolder, study: ChainStudy) -> list[Path]:
    """Draw the figures of a run into its folder."""
    config = study.config
    folder = config.data.data_dir if config.data.dataset == "imagefolder" else None
    name = Path(folder).name if folder else config.data.dataset
    return plot_accuracy(
        trials_table(study),
        run.path,
        title=f"{config.space.student} on {name}, chains of {config.family}",
        reference=study.attributes.get(REFERENCE, {}).get("val_accuracy"),
        teacher=teacher_accuracy(study),
    )


def teacher_accuracy(study: ChainStudy) -> float | None:
    """The teacher's validation accuracy in percent, from any trial that used it."""
    name = study.config.space.teacher
    for trial in study.trials:
        for stage in study.facts(trial).get("stages", ()):
            if stage["name"] == name and stage["finished"]:
                return float(stage["val_accuracy"])
    return None


def _test_accuracy(
    config: StudyConfig, info: DataInfo, spec: StageSpec, weights: bytes
) -> tuple[float | None, str | None]:
    """The student's accuracy on the test set in percent, if there is one, or what is wrong."""
    try:
        if not has_test(config.data):
            return None, None
        part = load_test(config.data)
    except InputError as error:
        return None, "; ".join(error.messages)
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}"
    # On the CPU in full precision, as whoever loads the student will find it; no trial runs now.
    normalise = Normalise(info.mean, info.std)
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    with deterministic(Numerics(threads=cores())):
        return accuracy(load_model(spec, weights), in_batches(normalise, images, labels)), None


def _value(trial: FrozenTrial | None) -> float | None:
    return trial.value if trial and trial.state == TrialState.COMPLETE else None


def _work(study: ChainStudy, started: float, concurrency: int) -> Work:
    """What the trials and the reference did, added up."""
    facts: list[dict[str, Any]] = [study.facts(t) for t in study.trials]
    facts.append(study.attributes.get(REFERENCE, {}))
    stages = [stage for fact in facts for stage in fact.get("stages", ())]
    states = [t.state for t in study.trials if study.facts(t).get("begun", True)]
    computing = sum(fact.get("computing", 0.0) for fact in facts)
    waiting = sum(fact.get("waiting", 0.0) for fact in facts)
    seconds = sum(fact.get("seconds", 0.0) for fact in facts)
    return Work(
        completed=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        trained=sum(stage["trained"] > 0 and stage["finished"] for stage in stages),
        reused=sum(stage["trained"] == 0 for stage in stages),
        taught=sum(fact.get("taught", 0) for fact in facts),
        forwards=sum(fact.get("forwards", 0) for fact in facts),
        computing=computing,
        waiting=waiting,
        starting=started * concurrency + max(0.0, seconds - computing - waiting),
        concurrency=concurrency,
    )
