"""What a ``--config`` file says: names and texts, which ``parse_options`` gives their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from dgkd_search.config.options import OPTIONS, Options, canonical_name, scope_of
from dgkd_search.config.parsers import DropGrid, ReplicationPlan
from dgkd_search.errors import InputError

_TAG = "tag:yaml.org,2002:"
# The words of YAML 1.2 that are no text, where they stand without quotes. By PyYAML's own rules,
# those of YAML 1.1, ``0:0.5``, a range of drop probabilities, would be half a second, ``no`` false
# and ``010`` eight.
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


class NestedValue:
    """Stands for a value that is neither one word nor a list of words; every rule refuses it."""

    def __str__(self) -> str:
        return "(a nested or tagged value)"


def read_config(path: Path, problems: list[str]) -> dict[str, object]:
    """The values of a ``--config`` file by name, in underscores: texts, lists, bools, None.

    Args:
        problems: names that stand twice, or are none, are added to it.

    Raises:
        InputError: the file is missing, is no YAML, or is no list of ``name: value``.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise InputError(
            f"--config {path}: can't be read ({error.strerror}); name a YAML file"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(
            f"--config {path}: is no valid YAML{where}; write one `name: value` a line"
        ) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and _scalar(root) is None):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"--config {path}: holds no options; write one `name: value` a line")
    values: dict[str, object] = {}
    spellings: dict[str, str] = {}
    for name_node, node in root.value:
        where = f"--config {path}: line {name_node.start_mark.line + 1}"
        if not isinstance(name_node, yaml.ScalarNode):
            problems.append(f"{where}: is no `name: value`; write one option a line")
            continue
        name = canonical_name(name_node.value)
        if name in values:
            first = "" if spellings[name] == name_node.value else f", first as {spellings[name]}"
            problems.append(f"{where}: {name_node.value} stands twice{first}; keep one")
        values[name], spellings[name] = _value(node), name_node.value
    return values


def _value(node: yaml.Node) -> object:
    # One level, no constructors: aliases of aliases can't grow, and tags make no objects.
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item) for item in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    kind = node.tag.removeprefix(_TAG)
    if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "int", "float", "bool", "null"):
        return NestedValue()
    text: str = node.value
    return _WORDS.get(text, text) if node.style is None else text


def to_yaml_values(options: Options) -> dict[str, object]:
    """The options that config.yaml notes, by their names in a ``--config`` file."""
    values: dict[str, object] = {}
    for name, value in options.values().items():
        if value is None or not scope_of(name).in_config:
            continue
        values[name.replace("_", "-")] = _yaml_value(value)
    return values


def to_yaml(values: Mapping[str, object]) -> str:
    """A ``--config`` file of these values, in the order of the table of options."""
    order = OPTIONS.names()
    names = sorted(values, key=lambda name: order.index(canonical_name(name)))
    return yaml.safe_dump(
        {name: values[name] for name in names}, sort_keys=False, allow_unicode=True
    )


def _yaml_value(value: object) -> object:
    if isinstance(value, DropGrid | ReplicationPlan):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
