"""Data of runs that were begun under earlier decoding rules."""

from __future__ import annotations

from pathlib import Path

from dgkd_search.data.cache import find_prepared, is_streamed, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding_rules import DECODING_RULES, changes_since
from dgkd_search.data.headers import scan_headers
from dgkd_search.data.open import open_dataset_files
from dgkd_search.data.prepared import PreparedData
from dgkd_search.data.types import DecodedFiles
from dgkd_search.utils.log import Log, silent

# Ends the message of a run whose images other rules decode differently.
PREPARED_GONE = "the data prepared by those rules are no longer in the store, start a new run"


def prepare_like(
    config: DataConfig, fingerprint: str, cache: Path, log: Log = silent
) -> PreparedData:
    """Prepare data like those that a run was begun with.

    If the present decoding rules give other pixels, the data that an earlier version prepared are
    used, as long as they are there. They are decoded by the earlier rules wherever that happens
    during training or on the test set.

    Args:
        config: the dataset and its settings.
        fingerprint: of the data of the run.
        cache: folder of prepared data.
        log: as for ``prepare``; also receives a line if earlier rules apply.

    Returns:
        Data with this fingerprint or, if neither rules give them, the present data.

    Raises:
        InputError: the data or its settings cannot be used.
    """
    data = prepare(config, cache, log)
    if data.info.fingerprint == fingerprint:
        return data
    for rules in range(DECODING_RULES - 1, 0, -1):
        earlier = find_prepared(config, cache, rules)
        if earlier is not None and earlier.info.fingerprint == fingerprint:
            log(
                f"decoding rules {rules} apply, as this run was begun under them, to its test set "
                f"too; since then (rules {DECODING_RULES}): {changes_since(rules)}"
            )
            return earlier
    return data


def why_other_pixels(config: DataConfig, rules: int) -> str | None:
    """Explain why a run has other pixels of the same files; None if the rules are no reason.

    Args:
        config: the dataset and its settings.
        rules: number of the decoding rules of the run.

    Raises:
        InputError: the dataset cannot be used.
    """
    dataset = open_dataset_files(config)
    if rules == DECODING_RULES or not isinstance(dataset, DecodedFiles):
        return None
    changed = scan_headers(dataset.all_paths()).changed
    if not changed and not is_streamed(config, dataset):
        return None
    affected = f"this affects {', '.join(changed)} images"
    if not changed:
        affected = "the fingerprint of streamed data contains the number of the rules"
    return (
        f"its images were decoded by rules {rules}; since then (rules {DECODING_RULES}) "
        f"{changes_since(rules)}; {affected}"
    )
