"""The content of best.yaml: the best configuration of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from dgkd_search.config.options import scope_of
from dgkd_search.data import DataInfo
from dgkd_search.study.replication_report import ReplicationReport
from dgkd_search.study.space import Configuration
from dgkd_search.training.losses.base import KL
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.records import from_plain, to_plain
from dgkd_search.utils.versions import versions

BEST_FORMAT = 3
ALONE_FORMAT = 4  # labels alone: ``trial`` is null
_COMPARED = "validation accuracy in percent, one run each"
_RETRAINED = (
    "on training and validation images, with a seed of its own; what the search measured stands "
    "under comparison and confirmation"
)


@dataclass(frozen=True)
class Accuracies:
    """Accuracies in percent; None if unknown.

    Attributes:
        validation: validation accuracy of the shipped student after its last epoch.
        test: test accuracy of the same weights, measured once after the search.
        baseline, kd, full: validation accuracy of labels alone, plain KD and the full chain, from
            single runs of this search.
        teacher: validation accuracy of the teacher.
    """

    validation: float
    test: float | None
    baseline: float | None
    kd: float | None
    full: float | None
    teacher: float | None

    @property
    def alone(self) -> float | None:
        """An earlier name of ``baseline``."""
        return self.baseline


@dataclass(frozen=True)
class Comparison:
    """Validation accuracies in percent, from single runs of the search; None if not trained."""

    student_alone: float | None = None
    plain_kd: float | None = None
    full_chain: float | None = None
    teacher: float | None = None
    what: str = _COMPARED


@dataclass(frozen=True)
class WeightsFile:
    """The file of the student's weights, beside best.yaml, and its SHA-256 checksum in hex."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Retraining:
    """Marks a student that was retrained after the search; ``repeat`` counts from 1."""

    repeat: int
    what: str = _RETRAINED


@dataclass(frozen=True, eq=False)
class BestConfig(Mapping[str, Any]):
    """The best configuration of a search, and how its student was trained.

    It is also a mapping with the keys of best.yaml, for example ``best["student"]``. ``to_json``
    returns a plain dict that can be changed or written.

    Attributes:
        trial: number of the best trial; None for the student trained on labels alone.
        teacher, assistants, student, guidance: the chain, in canonical form.
        drop_probability: of the student's teachers; None if it has fewer than two.
        temperature, kd_weight, loss, loss_scale: of the student's loss; None if it has no teacher;
            the temperature also if the loss doesn't use it.
        validation_accuracy: in percent; None for a retrained student, which was trained on the
            validation images.
        test_accuracy: in percent; None if there is no test set or it could not be read.
        test_reads: how often the test set was read.
        comparison: accuracies of the baselines, from single runs of the search.
        confirmation: results with fresh seeds.
        replicate: number of the student's seed; 0 is the trial's own.
        options: options of the search, by their names in a ``--config`` file; None if written by
            an early version.
        stages: in training order, the student's last.
        versions: of the packages that the result depends on, by name.
        format: format number of best.yaml.
    """

    trial: int | None
    family: str
    teacher: str
    assistants: tuple[str, ...]
    student: str
    guidance: str
    drop_probability: float | None
    temperature: float | None
    kd_weight: float | None
    loss: str | None
    loss_scale: str | None
    validation_accuracy: float | None
    test_accuracy: float | None
    test_reads: int
    comparison: Comparison
    replicate: int
    confirmation: ReplicationReport | None
    data: DataInfo
    options: Mapping[str, object] | None
    stages: tuple[StageSpec, ...]
    versions: Mapping[str, str]
    retrained: Retraining | None = None
    weights: WeightsFile | None = None
    format: int = BEST_FORMAT

    @classmethod
    def of(
        cls,
        trial: int | None,
        configuration: Configuration,
        stages: Sequence[StageSpec],
        info: DataInfo,
        accuracies: Accuracies,
        *,
        options: Mapping[str, object],
        test_reads: int,
        confirmation: ReplicationReport | None = None,
    ) -> BestConfig:
        """Create it from the best configuration; ``options`` are all options of the search."""
        chain, loss = configuration.chain.canonical(), stages[-1].distillation
        return cls(
            trial=trial,
            family=stages[-1].architecture.family,
            teacher=chain.teacher,
            assistants=chain.assistants,
            student=chain.student,
            guidance=chain.guidance,
            drop_probability=configuration.drop_prob,
            temperature=loss.used_temperature if loss else None,
            kd_weight=loss.kd_weight if loss else None,
            loss=loss.loss.name if loss else None,
            loss_scale=loss.loss_scale if loss else None,
            validation_accuracy=accuracies.validation,
            test_accuracy=accuracies.test,
            test_reads=test_reads,
            comparison=Comparison(
                accuracies.baseline, accuracies.kd, accuracies.full, accuracies.teacher
            ),
            replicate=stages[-1].replicate,
            confirmation=confirmation,
            data=info,
            options={name: v for name, v in options.items() if scope_of(name).in_best},
            stages=tuple(stages),
            versions=versions(),
            format=BEST_FORMAT if trial is not None else ALONE_FORMAT,
        )

    def retrained_as(self, repeat: int, stages: Sequence[StageSpec], info: DataInfo) -> BestConfig:
        """Return a copy for the same configuration, retrained on training and validation images."""
        return replace(
            self,
            validation_accuracy=None,
            test_accuracy=None,
            test_reads=0,
            retrained=Retraining(repeat),
            data=info,
            stages=tuple(stages),
            versions=versions(),
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the chain, teacher first; only the student if it has no teacher."""
        if self.loss is None:
            return (self.student,)
        return self.teacher, *self.assistants, self.student

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types, in the order of best.yaml."""
        value: dict[str, object] = {"format": self.format}
        for field in fields(self):
            if field.name not in ("format", "retrained", "weights"):
                value[field.name] = getattr(self, field.name)
        value["assistants"] = list(self.assistants)
        what = to_plain(self.comparison)
        value["comparison"] = {"what": what.pop("what"), **what}
        confirmed = self.confirmation
        value["confirmation"] = None if confirmed is None else confirmed.to_json()
        data = self.data.to_dict()
        del data["path"]  # of this machine
        value["data"] = data
        value["stages"] = [{"key": stage.key, **stage.to_dict()} for stage in self.stages]
        if self.options is None:
            del value["options"]
        else:
            value["options"] = dict(self.options)
        for name, part in (("weights", self.weights), ("retrained", self.retrained)):
            if part is not None:
                value[name] = to_plain(part)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> BestConfig:
        """Decode the result of ``to_json``, of this version or an earlier one.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: the value is malformed.
        """
        known = from_plain(_Parts, value)
        confirmed = known.confirmation
        if not known.stages:
            raise ValueError("stages: the list is empty")
        stages = tuple(StageSpec.from_dict(stage) for stage in known.stages)
        data = DataInfo.from_dict({**known.data, "path": ""})
        inputs = len(data.classes), data.channels, data.image_size
        for network in (stage.architecture for stage in stages):
            if (network.classes, network.channels, network.image_size) != inputs:
                raise ValueError(f"stages: {network.name} is a network for other data")
        trained: set[str] = set()
        for stage in stages:
            if not trained.issuperset(stage.teachers):
                raise ValueError(f"stages: {stage.architecture.name} has a teacher without a stage")
            trained.add(stage.key)
        return from_plain(
            cls,
            {
                # Defaults for fields that early versions did not write.
                "replicate": 0,
                "loss": None if value["kd_weight"] is None else KL.name,
                **value,
                "data": data,
                "stages": stages,
                "confirmation": ReplicationReport.from_json(confirmed) if confirmed else None,
                "options": value.get("options"),
            },
        )

    @cached_property
    def _table(self) -> dict[str, object]:
        return self.to_json()

    def __getitem__(self, name: str) -> Any:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._table == dict(other)

    __hash__ = None  # type: ignore[assignment]  # unhashable, as dict

    def __or__(self, other: Mapping[str, object]) -> dict[str, object]:
        return {**self, **other}

    def copy(self) -> dict[str, object]:
        """Return a plain dict; see ``to_json``."""
        return self.to_json()


@dataclass(frozen=True)
class _Parts:
    """Fields that have their own decoders."""

    data: Mapping[str, object]
    stages: tuple[Mapping[str, object], ...]
    confirmation: Mapping[str, object] | None = None
