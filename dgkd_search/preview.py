"""What a search would do, without doing it."""

from __future__ import annotations

import itertools
from dataclasses import replace

from dgkd_search.data.source import open_source
from dgkd_search.errors import InputError
from dgkd_search.options import Options
from dgkd_search.resolve import Resolved, resolve, size_notes, to_yaml_values
from dgkd_search.results.run import RunFolder
from dgkd_search.space import SearchSpace

_COUNT_LIMIT = 10_000
_CLASSES = {"cifar10": 10, "cifar100": 100}  # known without reading their files


def check(options: Options) -> tuple[Resolved, RunFolder]:
    """Everything that can be checked before something is written; no image is opened.

    Raises:
        InputError: what is wrong with the options or, where they are right, with the run folder
            and the data; all at once.
    """
    resolved = resolve(options)
    problems: list[str] = []
    try:
        run = RunFolder.choose(resolved.options)
    except InputError as error:
        problems.extend(error.messages)
    try:
        source = open_source(resolved.config.data)
    except InputError as error:
        problems.extend(error.messages)
    if problems:
        raise InputError(problems)
    classes = _CLASSES.get(resolved.config.data.dataset) or len(source.classes)
    notes = size_notes(resolved.config, classes, source.channels, source.image_size)
    return replace(resolved, warnings=(*resolved.warnings, *notes)), run


def preview(options: Options) -> list[str]:
    """Validate the options and describe the search, line by line; nothing is written.

    Raises:
        InputError: as a search would.
    """
    resolved, run = check(options)
    config, resources = resolved.config, resolved.resources
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    count = sum(1 for _ in itertools.islice(space.every(), _COUNT_LIMIT))
    more = "+" if count == _COUNT_LIMIT else ""
    chains, tried = f"{count}{more}", min(count, config.budget)
    if space.endless or more:
        tried = config.budget
    if space.endless:
        chains = "unlimited"
    lines = [f"note: {warning}" for warning in resolved.warnings]
    lines += [
        f"{name:<15} {_show(value)}" for name, value in to_yaml_values(resolved.options).items()
    ]
    lines += ["", f"configurations  {chains}, of which the budget tries {tried}"]
    names: dict[str, list[str]] = {}  # two names may mean one trial
    for name, params in space.first().items():
        names.setdefault(str(space.configuration(params).chain.canonical()), []).append(name)
    lines += [f"first trial     {chain}  ({', '.join(names[chain])})" for chain in names]
    lines += [
        f"trials at once  {resources.concurrency}, each {resources.cpus_per_trial} CPU threads "
        f"and {resources.gpus_per_trial:g} GPUs",
        f"run folder      {run.path}",
        "nothing was written: --dry-run",
    ]
    return lines


def _show(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
