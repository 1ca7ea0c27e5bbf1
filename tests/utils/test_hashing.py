from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgkd_search.utils.hashing import derive_seed, digest, sha256, to_json


def test_a_digest_ignores_the_order_of_names_and_refuses_nan() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_seeds_fit_every_generator(parts: list[object]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(*parts) != derive_seed(*parts, "more")


def test_json_is_canonical_and_strict() -> None:
    assert to_json({"b": 1, "a": [1.5, None]}) == to_json({"a": [1.5, None], "b": 1})
    assert to_json({}).endswith(b"\n")
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("inf")})
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
