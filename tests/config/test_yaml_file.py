"""``--config`` files: valid ones, and errors for invalid ones."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import yaml

from dgkd_search.config.options import OPTIONS, Options
from dgkd_search.config.parse_options import parse_options
from dgkd_search.config.yaml_file import read_config, to_yaml, to_yaml_values
from dgkd_search.errors import InputError


def read(path: Path, content: str | bytes) -> dict[str, object]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems: list[str] = []
    values = read_config(path, problems)
    if problems:
        raise InputError(problems)
    return values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "---\n", "~", "null", "{}"])
def test_a_file_may_say_nothing(path: Path, content: str) -> None:
    assert read(path, content) == {}


def test_values_are_texts_lists_flags_or_nothing(path: Path) -> None:
    content = "\ufeffdata-dir: /a b\r\nassistants: [a, b]\nquiet: true\ndry_run: False\nepochs:\n"
    assert read(path, content) == {
        "data_dir": "/a b",
        "assistants": ["a", "b"],
        "quiet": True,
        "dry_run": False,
        "epochs": None,
    }


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("drop-prob: 0:0.5", "drop_prob", "0:0.5"),  # YAML 1.1 would read 0.5 (sexagesimal)
        ("seed: 010", "seed", "010"),  # YAML 1.1 would read 8 (octal)
        ("out: 2024-01-31", "out", "2024-01-31"),
        ("out: no", "out", "no"),
        ("lr: 1e-3", "lr", "1e-3"),
        ("lr: &x 0.5\nweight-decay: *x", "weight_decay", "0.5"),
    ],
)
def test_words_stay_what_they_are(path: Path, content: str, name: str, expected: str) -> None:
    assert read(path, content)[name] == expected


def test_whatever_yaml_writes_is_read_as_it_was_meant(path: Path) -> None:
    said = {"lr": 1e-05, "seed": 7, "drop-prob": "0:0.5", "quiet": True, "out": "yes", "tune": []}
    options = parse_options(read(path, yaml.safe_dump(said)))
    assert options == parse_options(said)


@pytest.mark.parametrize(
    "content",
    [
        "- a\n- b\n",
        "budget",
        "5",
        "a: b: c",
        "\tbudget: 5",
        "budget: [5",
        "budget: 'x",
        "%YAML 9.9\n---\na: 1",
        "a: 1\n---\nb: 2\n",
        "a: *nowhere",
        b"\xff\xfe\x00\x01",
        b"a: \x00",
        "[" * 3000,
    ],
)
def test_what_is_no_list_of_options_is_refused_in_one_line(
    path: Path, content: str | bytes
) -> None:
    with pytest.raises(InputError) as caught:
        read(path, content)
    (message,) = caught.value.messages
    assert message.startswith(f"--config {path}: ")
    assert "`name: value`" in message
    assert len(message.splitlines()) == 1


def test_the_line_of_a_mistake_is_named(path: Path) -> None:
    with pytest.raises(InputError, match="in line 3"):
        read(path, "a: 1\nb: 2\nc: d: e\n")


def test_names_that_stand_twice_are_told_in_either_spelling(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(
            path,
            "seed: 1\ndata-dir: a\nseed: 2\ndata_dir: b\n? [x]\n: 1\n"
            "normalise: train\nnormalize: train\n",
        )
    assert [m.split(": ", 1)[1] for m in caught.value.messages] == [
        "line 3: seed occurs twice; keep one",
        "line 4: data_dir occurs twice, first as data-dir; keep one",
        "line 5: must be `name: value`; write one option per line",
        "line 8: normalize occurs twice, first as normalise; keep one",
    ]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
NAMES = sorted(OPTIONS.names())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", ["{a: b}", "[[a]]", "[{a: b}]", "!!binary aGk=", "!!timestamp x", "!!python/none x"]
)
def test_every_option_refuses_nested_and_tagged_values(path: Path, name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_options(read(path, f"{name}: {value}"), "f: {}")
    (message,) = caught.value.messages
    assert message.startswith(f"f: {name.replace('_', '-')} ")
    assert "nested" in message


@pytest.mark.timeout(30)
def test_aliases_of_aliases_do_not_grow(path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be read \(line 6: has more than .* of aliases\)"):
        parse_options(read(path, f"{BOMB}assistants: *i\nout: *h\n"))
    with pytest.raises(InputError, match=r"\*a refers to itself"):
        parse_options(read(path, "assistants: &a [*a]"))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a\n" * 2**17, "is larger than 256 kB, the limit"),
        ("a: " + "[" * 100, "line 1: values are nested more than 32 times"),
        ("a: " + "b" * 20_000, "line 1: a value has more than 10000 characters"),
        ("".join(f"a{n}: 1\n" for n in range(9999)), "has 9999 options, more than 1000"),
        (f"assistants: [{'resnet8,' * 5000}]", "has 5000 values, more than 1000"),
        (f"assistants: {'r,' * 4000}", "has 4001 values, more than 1000"),
    ],
)
def test_a_file_beyond_all_reason_is_refused_at_once(path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_options(read(path, text))
    (message,) = caught.value.messages
    assert why in message


def test_a_pipe_is_read_and_an_endless_device_is_not(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("epochs: 3\n",))
    writer.start()
    assert read_config(pipe, []) == {"epochs": "3"}
    writer.join()
    with pytest.raises(InputError, match="zero is larger than 256 kB, the limit"):
        read_config(Path("/dev/zero"), [])


@pytest.mark.timeout(20)
def test_the_config_of_a_run_is_read_from_no_pipe(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    os.mkfifo(path)
    with pytest.raises(InputError) as caught:
        read_config(path, [], of_run=True)
    assert str(caught.value).startswith(f"{path}: can't be read (config.yaml is not a regular file")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "9" * 5000, "0x10", "1:30", "true"])
def test_what_is_no_number_is_refused(path: Path, value: str) -> None:
    for name in ("budget", "lr", "gpus-per-trial"):
        with pytest.raises(InputError) as caught:
            parse_options(read(path, f"{name}: {value}"))
        (message,) = caught.value.messages
        assert len(message) < 200


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for bad in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(InputError, match="can't be read"):
            read_config(bad, [])


def test_values_are_written_in_the_order_of_the_options_and_read_again(tmp_path: Path) -> None:
    values = {"store": "here", "epochs": 3, "drop-prob": "0:0.5", "dataset": "digits", "tune": []}
    written = to_yaml(values)
    names = [line.split(":")[0] for line in written.splitlines()]
    order = OPTIONS.names()
    assert names == sorted(values, key=lambda name: order.index(name.replace("-", "_")))
    assert parse_options(read(tmp_path / "c.yaml", written)) == parse_options(values)


def test_a_background_is_written_only_if_it_is_not_white() -> None:
    assert "background" not in to_yaml_values(Options())
    assert to_yaml_values(Options(background="#0a0b0c"))["background"] == "#0a0b0c"


@pytest.mark.parametrize(
    ("text", "color"),
    [("white", "white"), ("#FFFFFF", "white"), ("000000", "black"), ("#0A0b0C", "#0a0b0c")],
)
def test_a_background_has_one_spelling(tmp_path: Path, text: str, color: str) -> None:
    # Without quotes, YAML takes #rrggbb for a comment.
    quoted = f'"{text}"' if "#" in text else text
    (tmp_path / "a.yaml").write_text(f"background: {quoted}\n")
    values = read_config(tmp_path / "a.yaml", [])
    assert parse_options(values).background == parse_options({"background": text}).background
    assert parse_options(values).background == color


@pytest.mark.parametrize("text", ["red", "#fff", "#12345g", "255,255,255", "", "#1234567"])
def test_other_backgrounds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="background"):
        parse_options({"background": text})
