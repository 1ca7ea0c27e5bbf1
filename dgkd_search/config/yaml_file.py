"""Reading and writing of ``--config`` files; values stay text until ``parse_options``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from dgkd_search.config.options import OPTIONS, Options, canonical_name, scope_of
from dgkd_search.config.parsers import DropGrid, ReplicationPlan
from dgkd_search.errors import InputError
from dgkd_search.utils.limits import CONFIG_BYTES, TooLarge, read_limited
from dgkd_search.utils.yaml_text import TooComplex, compose_yaml, to_yaml_text

_TAG = "tag:yaml.org,2002:"
# Unquoted words that are not text in YAML 1.2. PyYAML follows YAML 1.1, by which ``0:0.5``, a range
# of drop probabilities, would be half a second, ``no`` would be false and ``010`` would be eight.
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


# Options that earlier versions did not have. Their default is what those versions did, and is left
# out so that run folders stay as those versions wrote them.
_LATER = ("background",)


class NestedValue:
    """A value that is neither text nor a list of texts; every rule rejects it."""

    def __str__(self) -> str:
        return "(a nested or tagged value)"


def read_config(path: Path, problems: list[str], *, of_run: bool = False) -> dict[str, object]:
    """Read the values of a ``--config`` file by name with underscores: texts, lists, bools, None.

    Args:
        problems: receives a message for each duplicate or invalid name.
        of_run: whether it is the config.yaml of a folder. It is not read if it is a pipe then, and
            messages name no option.

    Raises:
        InputError: the file is missing, is not YAML, or doesn't consist of ``name: value`` lines.
    """
    label = str(path) if of_run else f"--config {path}"
    try:
        data = read_limited(path, CONFIG_BYTES, pipes=not of_run)
        root = compose_yaml(data.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{label}: can't be read ({error.strerror}); name a YAML file") from None
    except (TooLarge, TooComplex) as error:
        raise InputError(
            f"{label}: can't be read ({error}); write one `name: value` per line"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{label}: is not valid YAML{where}; write one `name: value` per line"
        ) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and _scalar(root) is None):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{label}: holds no options; write one `name: value` per line")
    values: dict[str, object] = {}
    spellings: dict[str, str] = {}
    for name_node, node in root.value:
        where = f"{label}: line {name_node.start_mark.line + 1}"
        if not isinstance(name_node, yaml.ScalarNode):
            problems.append(f"{where}: must be `name: value`; write one option per line")
            continue
        name = canonical_name(name_node.value)
        if name in values:
            first = "" if spellings[name] == name_node.value else f", first as {spellings[name]}"
            problems.append(f"{where}: {name_node.value} occurs twice{first}; keep one")
        values[name], spellings[name] = _value(node), name_node.value
    return values


def _value(node: yaml.Node) -> object:
    # Safe for untrusted files: one level (no exponential aliases), no constructors (no objects).
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item) for item in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    kind = node.tag.removeprefix(_TAG)
    if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "int", "float", "bool", "null"):
        return NestedValue()
    text: str = node.value
    return text if node.style else _WORDS.get(text, text)  # quotes and blocks have a style


def to_yaml_values(options: Options) -> dict[str, object]:
    """Return the options that config.yaml stores, by their names in a ``--config`` file."""
    values: dict[str, object] = {}
    for name, value in options.values().items():
        if name in _LATER and value == OPTIONS.get(name).default:
            continue
        if value is None or not scope_of(name).in_config:
            continue
        values[name.replace("_", "-")] = _yaml_value(value)
    return values


def to_yaml(values: Mapping[str, object]) -> str:
    """Return the text of a ``--config`` file, in the order of the table of options."""
    order = {name: place for place, name in enumerate(OPTIONS.names())}
    # A definition that was changed may have other names; they come last.
    names = sorted(values, key=lambda name: order.get(canonical_name(name), len(order)))
    return to_yaml_text({name: values[name] for name in names})


def _yaml_value(value: object) -> object:
    if isinstance(value, DropGrid | ReplicationPlan):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
