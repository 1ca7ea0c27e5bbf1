"""Prepared data as earlier versions wrote them."""

from __future__ import annotations

from pathlib import Path

import dgkd_search.data.cache as cache_module
from dgkd_search.data import PreparedData, open_prepared
from dgkd_search.data.config import DataConfig
from dgkd_search.data.decoding_rules import FIRST_RULES, Decoding
from dgkd_search.data.first_listing import first_identity
from dgkd_search.data.image_folder import ImageFolder
from dgkd_search.data.open import open_dataset_files
from dgkd_search.utils.files import write_folder
from dgkd_search.utils.hashing import from_checksummed_json, to_checksummed_json


def prepare_by_first_rules(config: DataConfig, cache: Path) -> PreparedData:
    """Prepare data as a version without decoding rules did, under the name that it gave them."""
    dataset = open_dataset_files(config)
    assert isinstance(dataset, ImageFolder)
    dataset.decoding = first = Decoding(FIRST_RULES)
    identity = first_identity(dataset.root)
    assert identity is not None
    streamed = config.images == "stream"
    files = cache_module._build(config, dataset, identity, streamed)
    info = from_checksummed_json(files["info.json"], "it")
    del info["decoding"]
    files["info.json"] = to_checksummed_json(info)
    key = cache_module._key(config, dataset, identity, streamed, first)
    cache.mkdir(exist_ok=True)
    write_folder(cache / key, files)
    return open_prepared(cache / key)
