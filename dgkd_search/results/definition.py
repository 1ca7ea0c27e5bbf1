"""The definition of a search, stored in its run folder and in its study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dgkd_search.config.options import Options
from dgkd_search.config.yaml_file import to_yaml_values
from dgkd_search.data.decoding_rules import FIRST_RULES
from dgkd_search.study.records import Attribute
from dgkd_search.study.space import Params
from dgkd_search.training.spec import TRAINING_VERSION
from dgkd_search.utils.records import from_plain, to_plain

DEFINITION_FORMAT = 2
# Names of checksums of the user's own parts. Early definitions lack the later ones, even if the
# run used such parts.
LATER_CHECKSUMS = ("guidance", "sampler", "pruner")
CHECKSUMS = ("given", "code", "start", "loss", *LATER_CHECKSUMS)
READABLE_FORMATS = (1, DEFINITION_FORMAT)  # 1 has options by their earlier spellings


@dataclass(frozen=True)
class SearchDefinition:
    """Everything that defines a search.

    Attributes:
        options: resolved options, by their names in a ``--config`` file.
        data: fingerprint of the dataset.
        initial_params: parameters of the first trials, if the caller chose them.
        checksums: of the user's own parts: ``given``, the teacher's weights, and the code of
            models (``code``), ``loss``, ``guidance``, ``sampler`` and ``pruner``; ``start``, the
            weights that constructors of models load.
        decoding_rules: number of the rules by which image files were decoded.
    """

    options: Mapping[str, object]
    data: str
    initial_params: tuple[Params, ...] | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    format: int = DEFINITION_FORMAT
    training: int = TRAINING_VERSION
    decoding_rules: int = FIRST_RULES

    @classmethod
    def of(
        cls,
        options: Options,
        fingerprint: str,
        initial_params: Sequence[Params] | None = None,
        checksums: Mapping[str, str] | None = None,
        decoding_rules: int = FIRST_RULES,
    ) -> SearchDefinition:
        """Create the definition of a search; ``options`` are resolved."""
        first = None if initial_params is None else tuple(dict(each) for each in initial_params)
        values, checksums = to_yaml_values(options), checksums or {}
        return cls(values, fingerprint, first, checksums, decoding_rules=decoding_rules)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        value = to_plain(self)
        return {
            **{name: value[name] for name in ("format", "training", "options", "data")},
            "first": value["initial_params"],
            # Left out as before there were rules, so that such definitions stay as they were.
            **(
                {}
                if self.decoding_rules == FIRST_RULES
                else {"decoding_rules": self.decoding_rules}
            ),
            **self.checksums,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> SearchDefinition:
        """Decode the result of ``to_json``, of this version or an earlier one.

        Raises:
            ValueError: the value is malformed.
        """
        checksums = {name: value[name] for name in CHECKSUMS if name in value}
        fields = {**value, "initial_params": value.get("first"), "checksums": checksums}
        return from_plain(cls, fields)


DEFINITION = Attribute("definition", SearchDefinition)
