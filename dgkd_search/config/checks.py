"""Checks of options: problems, and warnings of options without effect or of high cost."""

from __future__ import annotations

from itertools import pairwise

from dgkd_search.config.options import Options
from dgkd_search.errors import InputError
from dgkd_search.models import get_family, parameter_count
from dgkd_search.study.config import Resources, StudyConfig
from dgkd_search.training.losses.registry import get_loss
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.system import cores


def option_warnings(resources: Resources) -> list[str]:
    threads = resources.concurrency * resources.cpus_per_trial
    if resources.address is None and threads > cores():
        return [
            f"{pluralize(resources.concurrency, 'trial')} of "
            f"{pluralize(resources.cpus_per_trial, 'thread')} share {pluralize(cores(), 'core')}"
        ]
    return []


def ineffective_options(options: Options) -> list[str]:
    """Return a note for each option that has no effect."""
    notes = []
    if options.views is not None and options.augment == "none":
        notes.append("--views has no effect: without --augment there is one view of each image")
    if len(options.objective) > 1:
        notes.append("no trial is pruned: Optuna can't prune with two objectives")
    if options.outputs == "online" and options.store_limit is not None:
        notes.append("--store-limit has no effect: --outputs online stores no outputs")
    tempered = options.temperature != Options.temperature
    if tempered and not get_loss(options.loss).uses_temperature:
        notes.append(f"--temperature has no effect: --loss {options.loss} doesn't use it")
    return notes


def loss_problems(options: Options) -> list[str]:
    """Return the problems with the loss; the user's own module must be imported before."""
    try:
        loss = get_loss(options.loss, f"--loss {options.loss}")
    except InputError as error:
        return list(error.messages)
    if "temperature" in options.tune and not loss.uses_temperature:
        return [
            f"--tune temperature: --loss {loss.name} doesn't use the temperature; leave it out, or "
            "choose another loss"
        ]
    return []


def size_notes(config: StudyConfig, classes: int, channels: int, image_size: int) -> list[str]:
    """Return a note for each pair of neighbors whose order and parameter counts disagree."""
    space = config.space
    names, family = (space.teacher, *space.pool, space.student), get_family(config.family)
    counts = {
        name: parameter_count(family.describe(name, classes, channels, image_size))
        for name in names
    }
    return [
        f"{larger} ranks above {smaller} but has fewer parameters "
        f"({counts[larger]:,} against {counts[smaller]:,}); chains follow the ranks"
        for larger, smaller in pairwise(names)
        if counts[larger] < counts[smaller]
    ]
