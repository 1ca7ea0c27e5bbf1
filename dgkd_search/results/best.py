"""The best configuration and its student: written by a search, read by whoever ships it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from torch import Tensor, nn

from dgkd_search.config.options import scope_of
from dgkd_search.data import DataInfo
from dgkd_search.errors import InputError
from dgkd_search.models import family_names, get_family
from dgkd_search.models.layers import Normalize
from dgkd_search.results.run_folder import RunFolder, versions
from dgkd_search.study.space import Configuration
from dgkd_search.training.spec import StageSpec
from dgkd_search.training.weights import load_model
from dgkd_search.utils.files import write_bytes
from dgkd_search.utils.hashing import sha256, verify_checksum, with_checksum

BEST_FORMAT = 3
_READABLE = (1, 2, BEST_FORMAT)  # 2 had options by their earlier spellings
_UNSEALED = 1  # a format without a checksum


@dataclass(frozen=True)
class Accuracies:
    """In percent; None where it isn't known.

    Attributes:
        validation: of the student that is shipped, after its last epoch.
        test: of the same weights, read once, after the search.
        baseline, kd, full: validation of the student on labels alone, under plain KD, and at the
            end of the chain of all candidates, as this search trained them.
        teacher: validation.
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


def write_best(
    run: RunFolder,
    *,
    trial: int,
    options: Mapping[str, Any],
    configuration: Configuration,
    stages: Sequence[StageSpec],
    info: DataInfo,
    accuracies: Accuracies,
    weights: bytes,
    test_reads: int,
    replication: Mapping[str, Any] | None = None,
) -> None:
    """Write student.safetensors, then best.yaml, which names its checksum."""
    chain = configuration.chain.canonical()
    distillation = stages[-1].distillation
    value = {
        "format": BEST_FORMAT,
        "trial": trial,
        "family": stages[-1].architecture.family,
        "teacher": chain.teacher,
        "assistants": list(chain.assistants),
        "student": chain.student,
        "guidance": chain.guidance,
        "drop_probability": configuration.drop_prob,
        "temperature": distillation.used_temperature if distillation else None,
        "kd_weight": distillation.kd_weight if distillation else None,
        "loss": distillation.loss.name if distillation else None,
        "loss_scale": distillation.loss_scale if distillation else None,
        "validation_accuracy": accuracies.validation,
        "test_accuracy": accuracies.test,
        "test_reads": test_reads,
        "comparison": {
            "what": "validation accuracy in percent, one run each",
            "student_alone": accuracies.baseline,
            "plain_kd": accuracies.kd,
            "full_chain": accuracies.full,
            "teacher": accuracies.teacher,
        },
        "replicate": stages[-1].replicate,
        "confirmation": replication,
        "data": {k: v for k, v in info.to_dict().items() if k != "path"},
        "options": {name: v for name, v in options.items() if scope_of(name).in_best},
        "stages": [{"key": spec.key, **spec.to_dict()} for spec in stages],
        "versions": versions(),
    }
    write_student(run, value, weights)


def write_student(run: RunFolder, value: Mapping[str, Any], weights: bytes) -> None:
    """Write student.safetensors, then best.yaml with this content, and the checksum of both."""
    value = {**value, "weights": {"file": run.student.name, "sha256": sha256(weights)}}
    write_bytes(run.student, weights)
    text = "# The best chain of a search; load its student with dgkd_search.load_student(FOLDER).\n"
    text += yaml.safe_dump(with_checksum(value), sort_keys=False, allow_unicode=True)
    write_bytes(run.best, text.encode())


def load_best(path: Path | str) -> dict[str, Any]:
    """The contents of best.yaml.

    Args:
        path: the file, or the folder it lies in.

    Raises:
        InputError: it is missing, damaged or of another format.
    """
    path = Path(path)
    file = path / "best.yaml" if path.is_dir() else path
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file}: can't be read ({error.strerror}); a finished search writes it"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "format" not in value:
        raise _damaged(file)
    if value["format"] not in _READABLE:
        raise InputError(
            f"{file}: its format is {value['format']!r}, this version reads "
            f"{', '.join(map(str, _READABLE))}"
        )
    if value["format"] == _UNSEALED and {"stages", "weights"} <= value.keys():
        return value
    try:
        return verify_checksum(value, file.name)
    except (TypeError, ValueError):
        raise _damaged(file) from None


# What values other than the written ones raise on their way to a model.
_MALFORMED = (
    AttributeError,
    InputError,
    LookupError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: is damaged; --resume of its run writes it again")


class Student(nn.Module):
    """A trained student with its normalization, ready for images.

    Attributes:
        classes: their names, in the order of the outputs.
        image_size: height and width that it expects, in pixels.
        channels: 1 for gray, 3 for color.
    """

    def __init__(self, network: nn.Module, info: dict[str, Any]) -> None:
        super().__init__()
        self.normalize = Normalize(info["mean"], info["std"])
        self.network = network
        self.classes: tuple[str, ...] = tuple(info["classes"])
        self.image_size: int = info["image_size"]
        self.channels: int = info["channels"]

    @property
    def normalise(self) -> nn.Module:
        """An earlier name of ``normalize``."""
        return self.normalize

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float [B, classes], of images with pixels in 0..255, [B, channels, size, size].

        uint8 or float; for images in [0, 1], multiply by 255.
        """
        logits: Tensor = self.network(self.normalize(images))
        return logits


def load_student(path: Path | str) -> Student:
    """The best student of a run, on the CPU, in eval mode.

    Args:
        path: a run folder, or a folder that ``dgkd-search export`` wrote.

    Raises:
        InputError: best.yaml or the weights are missing, damaged, or don't belong together.
    """
    best = load_best(path)
    described = Path(path) / "best.yaml" if Path(path).is_dir() else Path(path)
    file = described.with_name("student.safetensors")
    try:
        weights = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror})") from None
    try:
        matches = sha256(weights) == best["weights"]["sha256"]
        spec = StageSpec.from_dict(best["stages"][-1])
        origin, name = spec.architecture.origin, spec.architecture.family
        known = get_family(name).code if not origin or name in family_names() else None
    except _MALFORMED:
        raise _damaged(described) from None
    if known is None:  # a file doesn't choose what is imported
        raise InputError(
            f"{described}: its network is of a family of your own; name its module with "
            f"--models {origin}, or in Python import that first"
        )
    if known != spec.architecture.code:
        raise InputError(
            f"{described}: the code of {origin} has changed since its network was trained; put "
            "that back"
        )
    try:
        student = Student(load_model(spec, weights), best["data"]) if matches else None
    except _MALFORMED:
        raise _damaged(described) from None
    if student is None:
        raise InputError(
            f"{file}: isn't the file that best.yaml names (checksum); --resume of its run "
            "writes it again"
        )
    student.eval()
    return student
