"""What a search would do, in words, without doing it."""

from __future__ import annotations

import itertools

from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.space import SearchSpace
from dgkd_search.utils.formatting import format_bytes, format_value, pluralize
from dgkd_search.utils.tables import labeled
from dgkd_search.workflows.validate import ValidatedSearch

_COUNT_LIMIT = 10_000
_LABEL = 15  # letters of an option, or of what follows from them


def preview_lines(validated: ValidatedSearch) -> list[str]:
    """Describe a search, line by line; nothing is written."""
    resolved, run = validated.resolved, validated.run
    config, resources = resolved.config, resolved.resources
    space = SearchSpace(config.space, config.distillation, config.student_recipe.lr)
    count = sum(1 for _ in itertools.islice(space.all_params(), _COUNT_LIMIT))
    more = "+" if count == _COUNT_LIMIT else ""
    chains, tried = f"{count}{more}", min(count, config.budget)
    if space.is_continuous or more:
        tried = config.budget
    if space.is_continuous:
        chains = "unlimited"
    values = dict(to_yaml_values(resolved.options))
    if resolved.options.store_limit is not None:
        values["store-limit"] = format_bytes(resolved.options.store_limit)
    threads = pluralize(resources.cpus_per_trial, "CPU thread")
    names: dict[str, list[str]] = {}  # two names may mean one trial
    for name, params in space.initial_params().items():
        names.setdefault(str(space.configuration(params).chain.canonical()), []).append(name)
    first = list(names)[: config.budget]
    plan = [
        ("data", validated.images or "known once they are at hand"),
        (
            "configurations",
            f"{chains} (of chain, guidance, drop), of which the budget tries {tried}",
        ),
        *(("first trial", f"{chain}  ({', '.join(names[chain])})") for chain in first),
        (
            "trials at once",
            f"{resources.concurrency}, each {threads} and {resources.gpus_per_trial:g} GPUs",
        ),
        ("then", _replication_words(config)),
        ("stored outputs", validated.outputs or "known once the data are at hand"),
        ("run folder", str(run.path)),
    ]
    return [
        *(f"note: {warning}" for warning in resolved.warnings),
        *labeled(((name, format_value(value)) for name, value in values.items()), _LABEL),
        "",
        *labeled(plan, _LABEL),
        "nothing was written: --dry-run",
    ]


def _replication_words(config: StudyConfig) -> str:
    """What is taught again when the trials are over."""
    if not config.confirm_seeds:
        return "nothing is taught again (--confirm off)"
    baseline = " and the student alone" if config.reference else ""
    most = (config.confirm_top + 1 + bool(baseline)) * config.confirm_seeds
    return (
        f"the best {config.confirm_top}, plain KD{baseline} again with "
        f"{config.confirm_seeds} fresh seeds: up to {most} students"
    )
