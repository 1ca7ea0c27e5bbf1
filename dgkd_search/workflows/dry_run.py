"""The preview of a search that a dry run prints."""

from __future__ import annotations

import itertools

from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.data.config import DataConfig
from dgkd_search.data.headers import scan_headers
from dgkd_search.data.types import Dataset, DecodedFiles
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.space import SearchSpace
from dgkd_search.utils.formatting import format_bytes, format_value, pluralize
from dgkd_search.utils.tables import labeled
from dgkd_search.workflows.validate import ValidatedSearch

_COUNT_LIMIT = 10_000
_LABEL = 15  # columns of a label
_BASELINES = {"kd": "plain KD", "full": "full chain", "middle": "middle assistant alone"}


def preview_lines(validated: ValidatedSearch) -> list[str]:
    """Describe a search line by line, without writing anything.

    Raises:
        InputError: names image files with damaged headers, ten at most.
    """
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
    names: dict[str, list[str]] = {}  # by chain: two names may mean the same trial
    for name, params in space.initial_params().items():
        chain = str(space.configuration(params).chain.canonical())
        names.setdefault(chain, []).append(_BASELINES.get(name, name))
    first = list(names)[: config.budget]
    header_notes = _image_notes(validated.dataset, config.data)
    plan = [
        ("data", validated.images or "counted when the search starts"),
        (
            "configurations",
            f"{chains} (of chain, guidance and drop); the budget covers {tried} of them",
        ),
        *(("first trial", f"{chain}  ({', '.join(names[chain])})") for chain in first),
        (
            "trials at once",
            f"{resources.concurrency}, each on {threads} and {resources.gpus_per_trial:g} GPUs",
        ),
        ("fresh seeds", _replication_words(config)),
        ("stored outputs", validated.outputs or "estimated when the search starts"),
        ("run folder", str(run.path)),
    ]
    return [
        *(f"note: {note}" for note in (*resolved.warnings, *header_notes)),
        *labeled(((name, format_value(value)) for name, value in values.items()), _LABEL),
        "",
        *labeled(plan, _LABEL),
        "nothing was written (--dry-run)",
    ]


def _image_notes(dataset: Dataset, config: DataConfig) -> list[str]:
    """Open the headers of all image files, also of the test set; no pixel is decoded.

    Raises:
        InputError: names the damaged files, ten at most.
    """
    if not isinstance(dataset, DecodedFiles):
        return []
    headers = scan_headers(dataset.all_paths())
    headers.raise_damaged()
    return headers.notes(dataset.channels, dataset.decoding.background, config.background)


def _replication_words(config: StudyConfig) -> str:
    """Describe the replication that follows the trials."""
    if not config.confirm_seeds:
        return "no replication (--confirm off)"
    baselines = "plain KD and labels alone" if config.reference else "plain KD"
    most = (config.confirm_top + 1 + config.reference) * config.confirm_seeds
    return (
        f"{config.confirm_seeds} for each of the best {config.confirm_top} configurations, "
        f"{baselines}: up to {pluralize(most, 'replicate')}"
    )
