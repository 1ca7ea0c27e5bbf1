"""Schemes name every weight once, and no two networks by the same names."""

from __future__ import annotations

import pytest
import torch

from dgkd_search.models import build
from dgkd_search.models.architecture import Architecture
from dgkd_search.models.weight_names import from_earlier_names, name_schemes, to_earlier_names

MEMBERS = [
    ("resnet", "resnet8x4"),
    ("resnet", "resnet14"),
    ("wrn", "wrn_16_1"),
    ("wrn", "wrn_16_2"),
    ("vgg", "vgg8"),
    ("vgg", "vgg11"),
    ("plain", "plain2"),
    ("plain", "plain8"),
    ("plain-c10", "plain8-c10"),
    ("cnn", "cnn3"),
]


@pytest.fixture(params=MEMBERS, ids=lambda member: member[1])
def network(request: pytest.FixtureRequest) -> tuple[str, tuple[str, ...]]:
    """Return a family and the names of the weights of one of its members."""
    family, name = request.param
    model = build(Architecture(family, name, 10, 3, 32), torch.Generator())
    return family, tuple(model.state_dict())


def test_a_scheme_of_the_same_function_names_every_weight(
    network: tuple[str, tuple[str, ...]],
) -> None:
    family, names = network
    own, *others = name_schemes(family, names)
    assert list(own.ours) == list(own.ours.values()) == list(names)
    for scheme in others:
        if not scheme.differs:
            assert list(scheme.ours.values()) == list(names), scheme.title


def test_schemes_of_other_functions_have_other_names(
    network: tuple[str, tuple[str, ...]],
) -> None:
    family, names = network
    schemes = name_schemes(family, names)
    assert len({frozenset(scheme.ours) for scheme in schemes}) == len(schemes)


def test_earlier_names_lead_back(network: tuple[str, tuple[str, ...]]) -> None:
    family, names = network
    weights = {name: i for i, name in enumerate(names)}
    earlier = to_earlier_names(family, weights)
    assert list(earlier.values()) == list(weights.values())
    for stored in (earlier, weights):
        assert from_earlier_names(family, stored, names) == weights
    strange = {"strange.weight": 0, **earlier}
    assert from_earlier_names(family, strange, names) == strange, "left for the network to refuse"


def test_a_family_without_a_table_has_only_its_own_names() -> None:
    (own,) = name_schemes("mine", ["stem.weight"])
    assert own.ours == {"stem.weight": "stem.weight"}
    assert to_earlier_names("mine", {"conv1.weight": 1}) == {"conv1.weight": 1}
