"""What a search would do, without doing it."""

from __future__ import annotations

import itertools

from dgkd_search.options import Options
from dgkd_search.resolve import resolve, to_yaml_values
from dgkd_search.results.run import RunFolder
from dgkd_search.space import SearchSpace

_COUNT_LIMIT = 10_000


def preview(options: Options) -> list[str]:
    """Validate the options and describe the search, line by line; nothing is written.

    Raises:
        InputError: as a search would.
    """
    resolved = resolve(options)
    run = RunFolder.choose(resolved.options)
    config, resources = resolved.config, resolved.resources
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    count = sum(1 for _ in itertools.islice(space.every(), _COUNT_LIMIT))
    chains = "unlimited" if space.endless else f"{count}{'+' if count == _COUNT_LIMIT else ''}"
    lines = [f"note: {warning}" for warning in resolved.warnings]
    lines += [
        f"{name:<15} {_show(value)}" for name, value in to_yaml_values(resolved.options).items()
    ]
    lines += ["", f"configurations  {chains}, of which the budget tries {config.budget}"]
    lines += [
        f"first trial     {space.configuration(params).chain.canonical()}  ({name})"
        for name, params in space.first().items()
    ]
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
