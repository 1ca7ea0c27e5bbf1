"""Splits: disjoint, stratified, exact and reproducible."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgkd_search.data.config import DataConfig
from dgkd_search.data.digits import Digits
from dgkd_search.data.splits import choose_split, draw_stratified, plan_rows, split
from dgkd_search.data.types import Labels
from dgkd_search.errors import InputError


@st.composite
def label_arrays(draw_value: st.DrawFn, smallest: int = 2, largest: int = 40) -> Labels:
    sizes = draw_value(st.lists(st.integers(smallest, largest), min_size=2, max_size=6))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw_value(st.integers(0, 9))).permutation(labels)


def _names(labels: Labels) -> list[str]:
    return [f"c{i}" for i in range(int(labels.max()) + 1)]


@settings(max_examples=60, deadline=None)
@given(labels=label_arrays(), data=st.data(), seed=st.integers(0, 2**40))
def test_split_is_disjoint_exact_and_reproducible(
    labels: Labels, data: st.DataObject, seed: int
) -> None:
    classes = int(labels.max()) + 1
    validation = data.draw(st.integers(classes, len(labels) - classes))
    limit = data.draw(st.none() | st.integers(classes, len(labels) - validation))
    train, val = split(labels, validation, limit, seed)
    assert len(val) == validation
    assert len(train) == (len(labels) - validation if limit is None else limit)
    assert len(np.union1d(train, val)) == len(train) + len(val)
    assert set(labels[train]) == set(labels[val]) == set(range(classes))
    for rows in (train, val):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < len(labels)
    again = split(labels, validation, limit, seed)
    assert np.array_equal(train, again[0]) and np.array_equal(val, again[1])


@settings(max_examples=60, deadline=None)
@given(labels=label_arrays(smallest=10), data=st.data(), seed=st.integers(0, 99))
def test_draws_are_proportional_within_one_image(
    labels: Labels, data: st.DataObject, seed: int
) -> None:
    sizes = np.bincount(labels)
    # From this count on, every class has at least one image by its share.
    count = data.draw(st.integers(-(-len(labels) // sizes.min()), len(labels)))
    rows = draw_stratified(labels, count, np.random.default_rng(seed))
    got = np.bincount(labels[rows], minlength=len(sizes))
    assert (np.abs(got - sizes * count / len(labels)) < 1 + 1e-9).all()
    assert got.sum() == count


def test_rare_classes_are_drawn_once_at_the_cost_of_the_common_ones() -> None:
    labels = np.repeat([0, 1, 2], [1000, 2, 2])
    train, val = split(labels, 10, 20, seed=0)
    assert np.bincount(labels[val]).tolist() == [8, 1, 1]
    assert np.bincount(labels[train]).tolist() == [18, 1, 1]


def test_seeds_and_only_seeds_change_the_draw() -> None:
    labels = np.repeat(np.arange(4), 50)
    first, second = split(labels, 40, 80, 0), split(labels, 40, 80, 1)
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_smaller_validation_is_part_of_a_larger_one() -> None:
    labels = np.repeat(np.arange(4), 50)
    small, large = split(labels, 20, None, 3)[1], split(labels, 60, None, 3)[1]
    assert set(small) < set(large)


@pytest.mark.parametrize("share", [0.05, 0.35, 0.5])
def test_the_share_of_validation_can_be_chosen(share: float) -> None:
    digits = Digits()
    count = len(digits.labels()[0])
    default = choose_split(digits, DataConfig("digits"))
    chosen = choose_split(digits, DataConfig("digits", validation=share))
    assert len(default.validation_labels) == round(0.2 * count)
    assert len(chosen.validation_labels) == round(share * count)
    assert len(chosen.train_labels) == count - round(share * count)
    rows = np.concatenate([chosen.rows.train, chosen.rows.validation])
    assert sorted(rows) == list(range(count))


@pytest.mark.parametrize("count", [1, 7])
def test_impossible_draws_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw_stratified(np.array([0, 0, 0, 1, 1, 1]), count, np.random.default_rng(0))


@pytest.mark.parametrize(
    "limit, train, validation",
    [(None, 900, 100), (900, 900, 100), (200, 200, 100), (199, 199, 99), (8, 8, 4)],
)
def test_validation_is_a_share_but_at_most_half_the_limit(
    limit: int | None, train: int, validation: int
) -> None:
    labels = np.repeat(np.arange(4), 250)
    rows = plan_rows(labels, None, _names(labels), fraction=0.1, limit=limit, seed=0)
    assert (len(rows.train), len(rows.validation)) == (train, validation)
    assert not set(rows.train) & set(rows.validation)


@pytest.mark.parametrize(
    "limit, train, validation", [(None, 1000, 80), (1000, 1000, 80), (40, 40, 20)]
)
def test_own_validation_is_used_whole_unless_the_limit_is_small(
    limit: int | None, train: int, validation: int
) -> None:
    labels, own = np.repeat(np.arange(4), 250), np.repeat(np.arange(4), 20)
    rows = plan_rows(labels, own, _names(labels), fraction=0.1, limit=limit, seed=0)
    assert (len(rows.train), len(rows.validation)) == (train, validation)
    assert np.bincount(own[rows.validation]).tolist() == [validation // 4] * 4


@pytest.mark.parametrize(
    "limit, message",
    [
        (7, "train-limit 7: must be at least 8, two images for each of 4 classes"),
        (-1, "train-limit -1: must be at least 8"),
        (901, "train-limit 901: there are 900 training images after 100 are set aside"),
    ],
)
def test_limits_out_of_range(limit: int | None, message: str) -> None:
    labels = np.repeat(np.arange(4), 250)
    with pytest.raises(InputError) as caught:
        plan_rows(labels, None, _names(labels), fraction=0.1, limit=limit, seed=0)
    assert message in str(caught.value)


def test_limit_above_what_own_validation_leaves() -> None:
    labels, own = np.repeat(np.arange(2), 10), np.array([0, 1])
    with pytest.raises(InputError, match="train-limit 21: there are 20 training images; give"):
        plan_rows(labels, own, ["a", "b"], fraction=0.1, limit=21, seed=0)


def test_classes_too_small_to_split_are_all_named() -> None:
    labels, own = np.array([0, 1, 1, 2]), np.array([0, 1, 2])
    with pytest.raises(InputError) as caught:
        plan_rows(labels, None, ["a", "b", "c"], fraction=0.1, limit=None, seed=0)
    assert len(caught.value.messages) == 2
    assert "class 'a': has 1 training image but needs at least 2" in caught.value.messages[0]
    rows = plan_rows(labels, own, ["a", "b", "c"], fraction=0.1, limit=None, seed=0)
    assert len(rows.train) == 4 and len(rows.validation) == 3


def test_smallest_possible_data() -> None:
    rows = plan_rows(np.array([0, 1, 0, 1]), None, ["a", "b"], fraction=0.1, limit=None, seed=0)
    assert len(rows.train) == len(rows.validation) == 2
