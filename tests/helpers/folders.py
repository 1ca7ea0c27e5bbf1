"""Picture folders made by tests."""

import numpy as np
import pytest
from PIL import Image

from dgkd_search.data import prepare
from dgkd_search.data.config import DataConfig
from dgkd_search.errors import InputError


def save_image(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def folder_config(root, **options):
    return DataConfig("imagefolder", str(root), **({"image_size": 16} | options))


def messages_of(root, **options):
    with pytest.raises(InputError) as caught:
        prepare(folder_config(root, **options), root.parent / "cache")
    assert not any("\n" in message for message in caught.value.messages)
    return caught.value.messages
