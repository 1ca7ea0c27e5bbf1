"""Comparison of methods: one student under several chains and guidances, with several seeds.

Each training is one trial in this process, without a search and without Ray. Several processes may
share one store; each reuses the stages that the others have trained.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dgkd_search.config.family import family_of
from dgkd_search.config.parse_options import merge_values, parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import Part, PreparedData, has_test, load_test
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding_rules import Decoding
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE, NO_GUIDANCE
from dgkd_search.distillation.stored_stages import stored_record
from dgkd_search.distillation.trial import Trial
from dgkd_search.store.location import store_path
from dgkd_search.store.store import Store
from dgkd_search.training.evaluation import accuracy_on_part
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.intervals import half_width, plus_minus
from dgkd_search.utils.log import Log, silent
from dgkd_search.utils.tables import Column, Table
from dgkd_search.workflows.single_chain import plan


@dataclass(frozen=True)
class Method:
    """A way to train a student.

    Attributes:
        name: name in tables.
        chain: model names, teacher first; only the student, to train it on labels alone.
        guidance: ``dense``, ``sequential`` or ``teacher``.
        drop_prob: drop probability of the student's teachers, in [0, 1).
        rate: factor on the student's learning rate.
        options: options of the recipe or the loss that differ from those of other methods.
    """

    name: str
    chain: tuple[str, ...]
    guidance: str = DEFAULT_GUIDANCE
    drop_prob: float = 0.0
    rate: float = 1.0
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRun:
    """A student that was trained by a method.

    Attributes:
        replicate: number of its seed, from 0.
        validation, test: accuracies in percent after the last epoch; test is None without a test
            set.
        seconds: training time of the student.
        before: training time of the larger models in seconds, even if they were cached.
        above: names and validation accuracies of these models, teacher first.
    """

    replicate: int
    validation: float
    test: float | None
    seconds: float
    before: float
    above: tuple[tuple[str, float], ...] = ()


def methods(chain: Sequence[str], drop_prob: float = 0.25) -> tuple[Method, ...]:
    """Return the methods of the DGKD paper for one chain, labels alone (NOKD) first.

    Without assistants TAKD and DGKD equal plain KD and are left out.

    Args:
        chain: model names, teacher first.
        drop_prob: drop probability of stochastic DGKD; the paper's best was 0.25 (a survival
            probability of 0.75).
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
    method: Method, replicate: int, options: Mapping[str, object], log: Log = silent
) -> tuple[tuple[StageSpec, ...], PreparedData]:
    """Return the stages of a method and their data; see ``train_student`` and ``plan``."""
    return plan(
        method.chain,
        guidance=method.guidance if len(method.chain) > 1 else NO_GUIDANCE,
        drop_prob=method.drop_prob,
        replicate=replicate,
        rate=method.rate,
        log=log,
        **merge_values(options, method.options),
    )


def train_student(method: Method, replicate: int, options: Mapping[str, object]) -> MethodRun:
    """Train one student by a method, unless it is cached.

    Args:
        method: chain, guidance and recipe.
        replicate: seed of the student, from 0; all replicates share teacher and assistants.
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
    """Train the student of every method with each seed.

    All methods are trained with one seed before the next, so that an interrupted comparison has
    as many runs of each.

    Returns:
        The runs by name of the method.
    """
    chosen = list(chosen)
    models = max((method.chain for method in chosen), key=len, default=())
    family = family_of(parse_options(options, "{}"), models)  # labels alone name but one model
    options = {**options, "family": family.name}
    for number, method in enumerate(chosen):
        # Reports errors of all methods before any training, and notes about their data once.
        plan_method(method, 0, options, silent if number else log)
    runs_by_method: dict[str, list[MethodRun]] = {method.name: [] for method in chosen}
    for replicate in range(replicates):
        for method in chosen:
            run = train_student(method, replicate, options)
            runs_by_method[method.name].append(run)
            log(f"{method.name}, seed {replicate + 1} of {replicates}: {run.validation:.2f} %")
    return runs_by_method


def with_interval(values: Sequence[float]) -> str:
    """Return the mean and half of its 95 % interval, as ``52.31 ± 0.42``."""
    return plus_minus(sum(values) / len(values), half_width(values))


def comparison_table(runs_by_method: Mapping[str, Sequence[MethodRun]]) -> list[str]:
    """Return a Markdown table: accuracies with 95 % intervals and training times per method."""
    return methods_table(runs_by_method).markdown()


def methods_table(runs_by_method: Mapping[str, Sequence[MethodRun]]) -> Table:
    """Return a table with a row per method; it has no test column without a test set."""
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
    """Return a line per method with the validation accuracies of the student's teachers."""
    lines = []
    for name, runs in runs_by_method.items():
        if runs[0].above:
            models = ", ".join(f"{model} {value:.2f} %" for model, value in runs[0].above)
            lines.append(f"{name}: larger models {models}")
    return lines


def _seconds(store: Store, stage: StageSpec) -> float:
    record = stored_record(store, stage)
    return record.seconds if record is not None else 0.0


def _test(
    stage: StageSpec, data: PreparedData, store: Store, merged: Mapping[str, object]
) -> float | None:
    config = resolve(parse_options(merged, "{}")).config.data
    part = _test_part(config, data.info.decoded_by)
    entry = store.get(stage.key)
    if part is None or entry is None:
        return None
    return accuracy_on_part(part, data.info, stage, entry.tensors)


@functools.lru_cache(maxsize=1)
def _test_part(config: DataConfig, decoding: Decoding) -> Part | None:
    """Return the test set, or None; it is decoded once per process."""
    return load_test(config, decoding) if has_test(config) else None
