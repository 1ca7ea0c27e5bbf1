"""Parsing of options from a command line, a ``--config`` file or Python."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dgkd_search.config.options import OPTIONS, Options, canonical_name
from dgkd_search.config.parsers import Named
from dgkd_search.errors import InputError, one_line


@dataclass(frozen=True)
class ParsedOptions:
    """The options that a user has set.

    Attributes:
        values: parsed values by canonical name.
    """

    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def updated(self, later: ParsedOptions) -> ParsedOptions:
        """Return these options merged with later ones, which win."""
        return ParsedOptions({**self.values, **later.values})

    def applied_to(self, options: Options) -> Options:
        """Return options in which these values replace the present ones."""
        return options.with_values(self.values)


_MOST = 1000  # options of a file, and values of an option; no search has nearly as many
NO_OPTIONS = ParsedOptions({})


def parse_options(
    values: Mapping[str, object], source: str = "--{}", own_names: bool = False
) -> Options:
    """Parse raw values, and set all other options to their defaults; see ``parse_values``."""
    return parse_values(values, source, own_names).applied_to(Options())


def parse_values(
    values: Mapping[str, object], source: str = "--{}", own_names: bool = False
) -> ParsedOptions:
    """Parse raw values by name, spelled with dashes or underscores.

    Packages and the module of ``models`` are imported if a name may be one of their options.

    Args:
        values: texts from a command line, or YAML values; None means not set.
        source: name of an option in messages; the last ``{}`` is replaced by its name.
        own_names: whether a module outside ``values`` may register names such as that of a
            dataset, so that unknown ones are no error here.

    Raises:
        InputError: all unknown names and bad values at once.
    """
    before, _, after = source.rpartition("{}")  # the last one: a path may contain braces
    if len(values) > _MOST:
        raise InputError(
            f"{before}{after}: has {len(values)} options, more than {_MOST}; give each option once"
        )
    problems: list[str] = []
    parsed: dict[str, Any] = {}
    try:
        load_module_of(values)
    except InputError as error:
        problems += error.messages
    for raw_name, value in values.items():
        label = f"{before}{_show(str(raw_name).replace('_', '-'))}{after}"
        name = canonical_name(str(raw_name))
        if name not in OPTIONS:
            problems.append(f"{label}: unknown option{closest(name, OPTIONS.names())}")
        elif value is not None and name in parsed:
            problems.append(f"{label}: is given twice, in two spellings; give it once")
        elif (count := _count(value)) > _MOST:
            problems.append(f"{label}: has {count} values, more than {_MOST}; give fewer")
        elif value is not None:
            try:
                rule = OPTIONS.get(name, label).parse
                parsed[name] = rule(value)
                if isinstance(rule, Named) and not (own_names or values.get("models")):
                    rule.check(parsed[name])
            except ValueError as error:
                problems.append(f"{label} {_show(value)}: {error}")
            except InputError as error:  # the option's package can't be imported
                problems += error.messages
    if problems:
        raise InputError(problems)
    return ParsedOptions(parsed)


def load_module_of(values: Mapping[str, object]) -> None:
    """Import the module of ``models`` if a name may be an option that the module registers.

    Raises:
        InputError: the module can't be imported.
    """
    module = values.get("models")
    if isinstance(module, str) and not all(str(name) in OPTIONS for name in values):
        from dgkd_search.models import load_families

        load_families(module)


def merge_values(*parts: Mapping[str, object]) -> dict[str, object]:
    """Merge raw values by canonical name; later parts win."""
    return {canonical_name(name): value for part in parts for name, value in part.items()}


def closest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name, which suggests the closest known name."""
    matches = difflib.get_close_matches(name[:60], list(known), n=1)
    return f"; did you mean {matches[0].replace('_', '-')}?" if matches else "; see --help"


def _count(value: object) -> int:
    """Return the number of values in a raw value of an option."""
    if isinstance(value, str):
        return value.count(",") + 1
    return len(value) if isinstance(value, list | tuple) else 1


def _show(value: object) -> str:
    """Format a value on one line of at most 60 characters."""
    shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    shown = one_line(shown) or "''"
    return shown if len(shown) <= 60 else shown[:57] + "..."
