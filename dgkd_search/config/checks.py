"""What is wrong, useless or costly in a set of options."""

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
    """Options that were given and change nothing."""
    notes = []
    if options.views is not None and options.augment == "none":
        notes.append("--views changes nothing: without --augment there is one view of each image")
    if len(options.objective) > 1:
        notes.append("two objectives: nothing is pruned, for Optuna prunes by one alone")
    if options.outputs == "online" and options.store_limit is not None:
        notes.append("--store-limit changes nothing: --outputs online stores none")
    tempered = options.temperature != Options.temperature
    if tempered and not get_loss(options.loss).uses_temperature:
        notes.append(f"--temperature changes nothing: --loss {options.loss} doesn't use it")
    return notes


def loss_problems(options: Options) -> list[str]:
    """What is wrong with the loss; a module of the user's own has been imported."""
    try:
        loss = get_loss(options.loss, f"--loss {options.loss}")
    except InputError as error:
        return list(error.messages)
    if "temperature" in options.tune and not loss.uses_temperature:
        return [
            f"--tune temperature: --loss {loss.name} doesn't use it; leave it out, or choose "
            "another loss"
        ]
    return []


def size_notes(config: StudyConfig, classes: int, channels: int, image_size: int) -> list[str]:
    """Where a family's order and parameter counts disagree, a line for each pair of neighbors."""
    space = config.space
    names, family = (space.teacher, *space.pool, space.student), get_family(config.family)
    counts = {
        name: parameter_count(family.architectures(classes, channels, image_size)(name))
        for name in names
    }
    return [
        f"{larger} ranks above {smaller} but has fewer parameters "
        f"({counts[larger]:,} against {counts[smaller]:,}); chains go by rank"
        for larger, smaller in pairwise(names)
        if counts[larger] < counts[smaller]
    ]
