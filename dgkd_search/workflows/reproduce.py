"""A best.yaml taken up again: its options, where its data lie, and whether they are the same."""

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
from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError
from dgkd_search.results.best_config import BestConfig
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.location import NO_STORE, store_path
from dgkd_search.store.store import Store
from dgkd_search.training.losses.registry import loss_of
from dgkd_search.utils.log import Log, silent


def options_from_best(best: Path, contents: BestConfig, overrides: Mapping[str, object]) -> Options:
    """The options of the search, with the places of now.

    Args:
        best: best.yaml, or the folder it lies in.
        contents: what it says.
        overrides: options in underscores; what is None counts as not given.

    Raises:
        InputError: it notes no options, or names a module to import that isn't given.
    """
    if contents.options is None:
        raise InputError(
            f"{best}: was written by an earlier version, which noted no options in it; "
            "--resume of its run writes it again"
        )
    options = dict(contents.options)
    if options.pop("models", None) is not None and overrides.get("models") is None:
        raise InputError(  # a file doesn't choose what is imported
            f"{best}: it was found with parts of your own; name their module with --models"
        )
    near = RunFolder(best if best.is_dir() else best.parent).config
    values = read_config(near, []) if near.exists() else {}
    overriding = {name: value for name, value in overrides.items() if value is not None}
    load_module_of({**options, **overriding})
    check_options_known(options, str(best))
    merged = merge_values(options, local_options(values), overriding)
    return parse_options(merged, "--{}")


def local_options(values: Mapping[str, object]) -> dict[str, object]:
    """Of the values in a config.yaml those that a best.yaml beside it leaves to the machine."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and name in OPTIONS and scope_of(name).for_retraining
    }


def check_same_loss(best: Path, contents: BestConfig) -> None:
    """That a loss of the user's own is the one that the stages were trained with.

    Args:
        best: best.yaml, or the folder it lies in.
        contents: what it says.

    Raises:
        InputError: its code has changed since.
    """
    for stage in contents.stages:
        settings = stage.distillation
        if settings is None:
            continue
        try:
            loss_of(settings.loss)
        except InputError:
            raise InputError(
                f"{best}: its loss {settings.loss.name!r} isn't what it was when it was found; put "
                "its code back"
            ) from None


@contextlib.contextmanager
def open_store(options: Options) -> Iterator[Store]:
    """The store that is named; for ``none`` one that is empty, and gone afterwards."""
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
    """The data that a best.yaml was found, or its student retrained, on.

    Raises:
        InputError: those at hand are others.
    """
    data = prepare(replace(config, merged=contents.retrained is not None), store.data, log)
    if data.info.fingerprint != contents.data.fingerprint:
        raise InputError(
            f"{best}: its search had other data (fingerprint {contents.data.fingerprint}, "
            f"these have {data.info.fingerprint}); name the right ones with --data-dir"
        )
    return data
