from __future__ import annotations

import pytest
import yaml

from dgkd_search.utils.yaml_text import TooComplex, compose_yaml, load_yaml

BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_what_pyyaml_writes_is_read(tmp_path: object) -> None:
    shared = ["x", 1, 2.5, None, True]
    value = {"one": shared, "two": shared, "names": {str(n): "é\u2028\n" for n in range(3_000)}}
    text = yaml.safe_dump(value, allow_unicode=True)
    assert "*id001" in text  # PyYAML writes equal objects as aliases
    assert load_yaml(text) == value
    assert load_yaml("") is None and compose_yaml("") is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "line 6: has more than 200000 values"),
        ("a: &a {x: 1}\n" + "b: {<<: [" + "*a," * 100_000 + "]}", "has more than 200000 values"),
        ("- x\n- &a [*a]", r"line 2: \*a refers to itself or to nothing"),
        ("*a", r"\*a refers to itself or to nothing"),
        ("? " * 1000, "line 1: values are nested more than 32 times"),
        ("- " * 1000, "line 1: values are nested more than 32 times"),
        ("{a: " * 100, "line 1: values are nested more than 32 times"),
        ("1" + ":1" * 10_000, "a value has more than 10000 characters"),
        ("---\n" * 200_001, "has more than 200000 values"),
    ],
)
def test_texts_that_multiply_or_nest_are_refused(text: str, why: str) -> None:
    for read in (load_yaml, compose_yaml):
        with pytest.raises(TooComplex, match=why):
            read(text)


@pytest.mark.parametrize("text", ["!!python/name:os.system x", "!x y", "a: !!python/tuple [1]"])
def test_tags_build_nothing(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
