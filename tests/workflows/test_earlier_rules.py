"""Runs under earlier decoding rules in resume, train and export."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.earlier import prepare_by_first_rules
from helpers.shipped import make_run
from PIL import Image

from dgkd_search.callbacks.base import Callback
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.resolve import resolve
from dgkd_search.errors import InputError
from dgkd_search.results.best import load_best
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.manifest import Manifest
from dgkd_search.store.store import Store
from dgkd_search.utils.log import silent
from dgkd_search.workflows.reproduce import prepare_same_data
from dgkd_search.workflows.resume import load_study
from dgkd_search.workflows.retrain import _merged


def test_a_run_goes_on_or_is_refused_by_the_rule_that_changed(tmp_path: Path) -> None:
    for name, level in (("a", 0), ("b", 200)):
        for i in range(10):
            path = tmp_path / "data/train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("LA", (16, 16), (level, 20 * i)).save(path)
    folder = {"dataset": "imagefolder", "data_dir": str(tmp_path / "data"), "image_size": 16}
    chain = {"family": "plain-c10", "train_limit": None}
    run = make_run(tmp_path, ("plain4-c10", "plain2-c10"), **folder, **chain)
    store, config = Store(tmp_path / "store"), resolve(parse_options(folder)).config
    before = prepare_by_first_rules(config.data, store.data)
    best = replace(load_best(run.path), data=before.info)

    assert prepare_same_data(run.path, best, config.data, store) == before
    # Images for a training on all of them would be decoded by other rules than those of the search.
    with pytest.raises(InputError, match=r"by rules 1.* 20 transparent .*start a new search"):
        _merged(run.path, config.data, before, store, silent)

    shutil.rmtree(before.path)
    refused = "decoded by rules 1; .*transparent images are laid .*start a new run"
    with pytest.raises(InputError, match=refused):
        prepare_same_data(run.path, best, config.data, store)
    options = parse_options(folder)
    begun, now = (SearchDefinition.of(options, text * 32) for text in "fe")
    manifest = Manifest(run, options, begun, {})
    with pytest.raises(InputError, match=refused):
        load_study(manifest, config, now, Callback())
    # A run of the present rules has other data for another reason.
    manifest = replace(manifest, definition=replace(begun, decoding_rules=2))
    with pytest.raises(InputError, match="started with other data"):
        load_study(manifest, config, now, Callback())


def test_the_number_of_the_rules_survives_in_a_definition() -> None:
    first = SearchDefinition.of(parse_options({}), "f" * 32)
    assert "decoding_rules" not in first.to_json()  # as earlier versions wrote it
    second = replace(first, decoding_rules=2)
    for definition in (first, second):
        assert SearchDefinition.from_json(definition.to_json()) == definition
