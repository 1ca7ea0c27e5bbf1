"""Methods side by side: one student under several chains and guidances, seed after seed.

No search and no Ray: a trial each, in this process, through the store. Several processes may
compare on one store at once; what one has trained the others find.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dgkd_search.config.parse_options import merge_values, parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import Part, PreparedData, has_test, load_test
from dgkd_search.data.config import DataConfig
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE, NO_GUIDANCE
from dgkd_search.distillation.trial import Trial
from dgkd_search.store.location import store_path
from dgkd_search.store.store import Store
from dgkd_search.training.evaluation import accuracy_on_part
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.stage_record import StageRecord
from dgkd_search.utils.intervals import half_width, plus_minus
from dgkd_search.utils.log import Log, silent
from dgkd_search.utils.tables import Column, Table
from dgkd_search.workflows.single_chain import plan


@dataclass(frozen=True)
class Method:
    """One way to teach a student.

    Attributes:
        name: as a table shows it.
        chain: model names, teacher first; the student alone for labels only.
        guidance: ``dense``, ``sequential`` or ``teacher``.
        drop_prob: of the student's teachers, in [0, 1).
        rate: factor on the student's learning rate.
        options: of the recipe or the loss, where they differ from the others'.
    """

    name: str
    chain: tuple[str, ...]
    guidance: str = DEFAULT_GUIDANCE
    drop_prob: float = 0.0
    rate: float = 1.0
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRun:
    """One student that a method has taught.

    Attributes:
        replicate: which of its seeds, from 0.
        validation, test: accuracy in percent after the last epoch; test None where there is none.
        seconds: that the student took to train.
        before: that the models above it took, whoever trained them.
        above: these models and their validation accuracies, the teacher first.
    """

    replicate: int
    validation: float
    test: float | None
    seconds: float
    before: float
    above: tuple[tuple[str, float], ...] = ()


def methods(chain: Sequence[str], drop_prob: float = 0.25) -> tuple[Method, ...]:
    """The methods of the DGKD paper on one chain, the student alone first.

    Without assistants TAKD and DGKD are plain KD, and left out.

    Args:
        chain: model names, from the teacher on.
        drop_prob: of the stochastic one; a survival of 0.75 was the paper's best.
    """
    models = tuple(chain)
    ends = models[0], models[-1]
    result = [Method("NOKD", models[-1:]), Method("KD", ends)]
    if len(models) > 2:
        result += [
            Method("TAKD", models, "sequential"),
            Method("DGKD", models),
            Method(f"DGKD, drop {drop_prob:g}", models, drop_prob=drop_prob),
        ]
    return tuple(result)


def plan_method(
    method: Method, replicate: int, options: Mapping[str, object]
) -> tuple[tuple[StageSpec, ...], PreparedData]:
    """The stages of a method, and their data; see ``train_student``."""
    return plan(
        method.chain,
        guidance=method.guidance if len(method.chain) > 1 else NO_GUIDANCE,
        drop_prob=method.drop_prob,
        replicate=replicate,
        rate=method.rate,
        **merge_values(options, method.options),
    )


def train_student(method: Method, replicate: int, options: Mapping[str, object]) -> MethodRun:
    """Teach one student, or find it in the store.

    Args:
        replicate: seed of the student, from 0; teacher and assistants are the same for all.
        options: data, family, recipe and store, as for ``search``.

    Raises:
        InputError: unknown names or values; sizes that don't strictly decrease.
    """
    merged = merge_values(options, method.options)
    stages, data = plan_method(method, replicate, options)
    store = Store(store_path(parse_options(merged, "{}").store))
    result = Trial(stages, data, store).run()
    seconds = [_seconds(store, stage) for stage in stages]
    test = _test(stages[-1], data, store, merged)
    above = tuple((stage.name, stage.val_accuracy) for stage in result.stages[:-1])
    return MethodRun(replicate, result.val_accuracy, test, seconds[-1], sum(seconds[:-1]), above)


def compare(
    chosen: Iterable[Method],
    replicates: int,
    options: Mapping[str, object],
    log: Log = silent,
) -> dict[str, list[MethodRun]]:
    """Teach every method's student with each seed; seed after seed, so that ends are even.

    Returns:
        The runs by method.
    """
    chosen = list(chosen)
    for method in chosen:
        plan_method(method, 0, options)  # what is wrong with the last one is told before the first
    runs_by_method: dict[str, list[MethodRun]] = {method.name: [] for method in chosen}
    for replicate in range(replicates):
        for method in chosen:
            run = train_student(method, replicate, options)
            runs_by_method[method.name].append(run)
            log(f"{method.name}, seed {replicate + 1} of {replicates}: {run.validation:.2f} %")
    return runs_by_method


def with_interval(values: Sequence[float]) -> str:
    """Mean and half of its 95 % interval, as ``52.31 ± 0.42``."""
    return plus_minus(sum(values) / len(values), half_width(values))


def comparison_table(runs_by_method: Mapping[str, Sequence[MethodRun]]) -> list[str]:
    """The runs as a Markdown table: means with 95 % intervals, and what each method cost."""
    return methods_table(runs_by_method).markdown()


def methods_table(runs_by_method: Mapping[str, Sequence[MethodRun]]) -> Table:
    """A row a method: its accuracies, and what it cost; no column of test where there is none."""
    tested = any(run.test is not None for runs in runs_by_method.values() for run in runs)
    columns = (
        Column(),
        Column("validation %", "right", with_interval),
        *([Column("test %", "right", with_interval)] if tested else []),
        Column("seeds", "right"),
        Column("student, s", "right", ".1f"),
        Column("models above it, s", "right", ".1f"),
    )
    rows: list[tuple[object, ...]] = []
    for name, runs in runs_by_method.items():
        tests = [run.test for run in runs if run.test is not None]
        rows.append(
            (
                name,
                [run.validation for run in runs],
                *([tests] if tested else []),
                len(runs),
                sum(run.seconds for run in runs) / len(runs),
                runs[0].before,
            )
        )
    return Table(columns, rows)


def ladders(runs_by_method: Mapping[str, Sequence[MethodRun]]) -> list[str]:
    """Validation accuracies of the models above the student, a line a method that has any."""
    lines = []
    for name, runs in runs_by_method.items():
        if runs[0].above:
            models = ", ".join(f"{model} {value:.2f} %" for model, value in runs[0].above)
            lines.append(f"{name}: above the student {models}")
    return lines


def _seconds(store: Store, stage: StageSpec) -> float:
    entry = store.get(stage.key)
    return StageRecord.from_json(stage, entry.meta).seconds if entry is not None else 0.0


def _test(
    stage: StageSpec, data: PreparedData, store: Store, merged: Mapping[str, object]
) -> float | None:
    part = _test_part(resolve(parse_options(merged, "{}")).config.data)
    entry = store.get(stage.key)
    if part is None or entry is None:
        return None
    return accuracy_on_part(part, data.info, stage, entry.tensors)


@functools.lru_cache(maxsize=1)
def _test_part(config: DataConfig) -> Part | None:
    """The test set, if there is one; decoded once a process."""
    return load_test(config) if has_test(config) else None
