"""Reuse of a best.yaml: its options with the paths of this machine, and checks of its data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dgkd_search.config.extra_options import check_options_known
from dgkd_search.config.options import OPTIONS, Options, scope_of
from dgkd_search.config.parse_options import load_module_of, merge_values, parse_options
from dgkd_search.config.yaml_file import read_config
from dgkd_search.data import PreparedData
from dgkd_search.data.config import DataConfig
from dgkd_search.data.earlier_rules import PREPARED_GONE, prepare_like, why_other_pixels
from dgkd_search.errors import InputError
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.location import NO_STORE, store_path
from dgkd_search.store.store import Store
from dgkd_search.training.losses.registry import loss_of
from dgkd_search.utils.log import Log, silent


def options_from_best(best: Path, contents: BestConfig, overrides: Mapping[str, object]) -> Options:
    """Return the options of the search, with the paths of this machine.

    Args:
        best: best.yaml, or the folder that holds it.
        contents: its contents.
        overrides: options by name with underscores; None means not set.

    Raises:
        InputError: best.yaml has no options, or was written with a module that ``overrides``
            doesn't name.
    """
    if contents.options is None:
        raise InputError(
            f"{best}: contains no options, because an earlier version wrote it; --resume of its "
            "run rewrites it"
        )
    options = dict(contents.options)
    if options.pop("models", None) is not None and overrides.get("models") is None:
        raise InputError(  # for safety, a file can't choose which module is imported
            f"{best}: its search used a module of your own; name it with --models"
        )
    near = RunFolder(best if best.is_dir() else best.parent).config
    values = read_config(near, [], of_run=True) if near.exists() else {}
    overriding = {name: value for name, value in overrides.items() if value is not None}
    load_module_of({**options, **overriding})
    check_options_known(options, str(best))
    merged = merge_values(options, local_options(values), overriding)
    return parse_options(merged, "--{}")


def local_options(values: Mapping[str, object]) -> dict[str, object]:
    """Return those values of a config.yaml that depend on the machine, which best.yaml omits."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and name in OPTIONS and scope_of(name).for_retraining
    }


def check_same_loss(best: Path, contents: BestConfig) -> None:
    """Check that the user's own loss is the one that the stages were trained with.

    Args:
        best: best.yaml, or the folder that holds it.
        contents: its contents.

    Raises:
        InputError: the code of the loss has changed.
    """
    for stage in contents.stages:
        settings = stage.distillation
        if settings is None:
            continue
        try:
            loss_of(settings.loss)
        except InputError:
            raise InputError(
                f"{best}: the code of its loss {settings.loss.name!r} has changed since the "
                "search; restore it"
            ) from None


@contextlib.contextmanager
def open_store(options: Options) -> Iterator[Store]:
    """Open the store of the options; for ``none`` an empty store that is deleted at the end."""
    if options.store != NO_STORE:
        yield Store(store_path(options.store), options.store_limit)
        return
    with TemporaryDirectory(prefix="dgkd-search-") as folder:
        yield Store(folder)


def prepare_same_data(
    best: Path,
    contents: BestConfig,
    config: DataConfig,
    store: Store,
    log: Log = silent,
) -> PreparedData:
    """Prepare the data that the student of a best.yaml was trained on.

    Raises:
        InputError: the data have changed.
    """
    config = replace(config, merged=contents.retrained is not None)
    data = prepare_like(config, contents.data.fingerprint, store.data, log)
    if data.info.fingerprint != contents.data.fingerprint:
        if reason := why_other_pixels(config, contents.data.decoded_by.rules):
            raise InputError(f"{best}: {reason}; {PREPARED_GONE}")
        raise InputError(
            f"{best}: its search used other data (fingerprint {contents.data.fingerprint}, "
            f"present data {data.info.fingerprint}); name the right ones with --data-dir"
        )
    return data
