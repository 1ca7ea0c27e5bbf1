"""Planning and training of one chain, without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dgkd_search.config.family import family_of
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.notes import notes_of
from dgkd_search.distillation.chain import Chain
from dgkd_search.distillation.guidances.registry import DEFAULT_GUIDANCE
from dgkd_search.distillation.pretrained import as_stage, read_teacher
from dgkd_search.distillation.stats import TrialResult
from dgkd_search.distillation.trial import Trial
from dgkd_search.errors import InputError
from dgkd_search.models import get_family, load_families
from dgkd_search.store.location import NO_STORE, store_path
from dgkd_search.store.store import Store
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Configuration
from dgkd_search.training.losses.custom import validate_custom_loss
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.training.recipe import DROP_PROB
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.log import Log, silent


def plan(
    names: Sequence[str],
    /,
    *,
    guidance: str = DEFAULT_GUIDANCE,
    drop_prob: float = 0.0,
    replicate: int = 0,
    rate: float = 1.0,
    log: Log = silent,
    **options: Any,
) -> tuple[tuple[StageSpec, ...], PreparedData]:
    """Plan the stages of one chain, and prepare their data.

    Args:
        names: model names, from the teacher to the student; a single model is trained on labels
            alone.
        guidance: ``dense``, ``sequential``, ``teacher``, ``none`` or your own.
        drop_prob: drop probability of the student's teachers, in [0, 1).
        replicate: seed of the student, from 0; all replicates share the larger models.
        rate: factor on the student's learning rate, above 0.
        log: is called with a line about each thing that the data leave out or convert.
        options: data, family and recipe, as for ``search``. With ``store="none"`` the data are
            prepared in the user's cache folder, where ``run_trial`` finds them. Pretrained weights
            of the teacher go into the store; pass the same store to ``run_trial``.

    Returns:
        The stages in training order, for ``run_trial`` or, one by one, for ``train_stage``; and
        their data.

    Raises:
        InputError: unknown names or values; sizes that don't strictly decrease.
    """
    if isinstance(names, str):
        raise InputError(f"models {names!r}: must be a list of names, from the teacher on")
    if isinstance(drop_prob, bool) or not isinstance(drop_prob, int | float):
        raise InputError(f"drop_prob {drop_prob!r}: must be one number in {DROP_PROB.interval}")
    if (module := options.get("models")) is not None:  # first: it may register the guidance
        load_families(str(module))
    chain = Chain(tuple(names), guidance)
    options["family"] = family_of(parse_options(options, "{}"), chain.models).name
    if len(names) > 1 and options.get("teacher_weights") is not None:
        options |= {"teacher": chain.teacher, "student": chain.student}
    resolved = resolve(parse_options({**options, "drop_prob": drop_prob}, "{}"))
    config = resolved.config
    family = get_family(config.family)
    members = [family.member(name) for name in chain.models]
    for larger, smaller in pairwise(members):
        if larger.size <= smaller.size:
            raise InputError(
                f"chain {chain}: {larger.name} is not larger than {smaller.name}; reorder them"
            )
    store = Store(store_path(resolved.options.store))
    if log is not silent:  # the notes take a second for a large folder
        for note in notes_of(config.data):
            log(f"note: {note}")
    data = prepare(config.data, store.data, log)
    loss = config.distillation.loss
    validate_custom_loss(get_loss(loss.name), len(data.info.classes), loss.options)
    planner = Planner(config, data.info)
    if resolved.options.teacher_weights is not None:
        path = Path(resolved.options.teacher_weights)
        teacher = read_teacher(path, planner.architecture(config.space.teacher))
        planner = replace(planner, pretrained=teacher.checksum)
        as_stage(teacher, planner.teacher(), data, store).put_into(store)
    distillation = replace(config.distillation, drop_prob=drop_prob)
    configuration = Configuration(chain, distillation, config.student_recipe.lr * rate)
    return planner.stages(configuration, replicate), data


def run_trial(
    stages: Sequence[StageSpec], data: PreparedData, store: Path | str | None = None
) -> TrialResult:
    """Train a chain in this process, without Ray; cached stages are not trained again.

    Args:
        stages, data: the result of ``plan``.
        store: the store's folder; by default in the user's cache folder. ``none`` stands for an
            empty store that is deleted at the end.
    """
    if str(store) == NO_STORE:
        with TemporaryDirectory(prefix="dgkd-search-") as folder:
            return Trial(stages, data, Store(folder)).run()
    return Trial(stages, data, Store(store_path(None if store is None else str(store)))).run()
