"""Keys and weights are the same as in ``tests/compatibility/frozen/golden.json``.

Another key would orphan every store; other weights under the same key would be wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import golden

FROZEN: dict[str, Any] = json.loads(golden.FILE.read_text())
# Tolerance for last bits, which differ between processors, as a share of the change in two steps.
# (The last layers of a deep network normalize only twelve numbers on small images: more growth.)
GROWN = {name: 5e-3 if name == "resnet18" else 1e-4 for name in golden.SMALLEST.values()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Any]:
    """Two steps of each family's smallest member, with and without teachers."""
    return golden.trained(folder)


def near(now: float, then: float, share: float, of: float = 0.0) -> bool:
    return abs(now - then) <= share * max(abs(then), of) + 1e-6


def test_data_have_the_fingerprints_that_they_had(folder: Path) -> None:
    assert golden.fingerprints(folder) == FROZEN["data"]


def test_a_stage_is_described_as_it_was() -> None:
    spec = golden.settings()["everything else"][-1]
    assert spec.to_dict() == FROZEN["spec"]
    assert type(spec).from_dict(FROZEN["spec"]) == spec


@pytest.mark.parametrize("name", golden.settings())
def test_stages_have_the_keys_that_they_had(name: str) -> None:
    assert [spec.key for spec in golden.settings()[name]] == FROZEN["keys"][name]


def test_outputs_and_seeds_are_named_as_they_were() -> None:
    assert golden.named() == {name: FROZEN[name] for name in ("seeds", "outputs")}
    assert FROZEN["keys"].keys() == golden.settings().keys()


def test_defaults_lead_to_the_same_stages(folder: Path) -> None:
    assert golden.defaults(folder) == FROZEN["defaults"]


@pytest.mark.parametrize(("family", "name"), golden.SMALLEST.items())
def test_a_network_is_drawn_as_it_was(family: str, name: str) -> None:
    now, then = golden.drawn(family, name), FROZEN["drawn"][name]
    assert [row[:2] for row in now] == [row[:2] for row in then], "names and shapes, in order"
    for (key, _, *values), (_, _, *wanted) in zip(now, then, strict=True):
        assert values == pytest.approx(wanted, rel=1e-5, abs=max(1e-6, 1e-6 * wanted[1])), key


@pytest.mark.parametrize(("name", "family"), golden.OTHERS.items())
def test_larger_networks_are_drawn_as_they_were(family: str, name: str) -> None:
    *now, total, size = golden.totals(family, name)
    *then, total_then, size_then = FROZEN["totals"][name]
    assert now == then, "tensors, and a hash of their names and shapes"
    assert near(size, size_then, 1e-6)
    assert near(total, total_then, 1e-6, size_then)


@pytest.mark.parametrize("kind", ["labels", "sources"])
@pytest.mark.parametrize("name", golden.SMALLEST.values())
def test_two_steps_change_a_network_as_they_did(
    name: str, kind: str, trained: dict[str, Any]
) -> None:
    now, then = trained["trained"][name][kind], FROZEN["trained"][name][kind]
    assert (now["key"], now["taught"]) == (then["key"], then["taught"])
    assert near(now["loss"], then["loss"], GROWN[name])
    for place, (one, other) in enumerate(zip(now["change"], then["change"], strict=True)):
        where = FROZEN["drawn"][name][place][0]
        for value, wanted in zip(one, other, strict=True):
            assert near(value, wanted, GROWN[name], of=other[1]), f"{where}: {one}, was {other}"


def test_weights_are_the_same_to_the_last_bit(trained: dict[str, Any]) -> None:
    now, then = trained["bits"], FROZEN["bits"]
    differs = [name for name in then["machine"] if now["machine"][name] != then["machine"][name]]
    if differs:
        pytest.skip(f"written with another {', '.join(differs)}, which decides last bits")
    assert now["sha256"] == then["sha256"]
