from dgkd_search.data import default_augment
from dgkd_search.data.config import AUGMENTS, DATASETS


def test_every_data_set_has_an_augmentation():
    assert {default_augment(name) for name in DATASETS} <= set(AUGMENTS)
    assert "flip" not in default_augment("digits")
