"""Write and read best.yaml and the weights of the best student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from safetensors import SafetensorError
from torch import Tensor, nn

from dgkd_search.data import DataInfo
from dgkd_search.errors import InputError
from dgkd_search.models import family_names, get_family, parameter_count
from dgkd_search.models.construction import NetworkError
from dgkd_search.models.layers import Normalize
from dgkd_search.results.best_config import ALONE_FORMAT, BEST_FORMAT, BestConfig, WeightsFile
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.training.weights import load_model
from dgkd_search.utils.files import write_bytes
from dgkd_search.utils.hashing import UNREADABLE, sha256, verify_checksum, with_checksum
from dgkd_search.utils.limits import YAML_BYTES, TooLarge, read_limited, tensors_limit
from dgkd_search.utils.yaml_text import TooComplex, load_yaml, to_yaml_text

_READABLE = (1, 2, BEST_FORMAT, ALONE_FORMAT)  # 2 has options by their earlier spellings
_UNSEALED = 1  # a format without a checksum


def write_best(run: RunFolder, best: BestConfig, weights: bytes) -> None:
    """Write student.safetensors, then best.yaml, which has its checksum."""
    best = replace(best, weights=WeightsFile(run.student.name, sha256(weights)))
    write_bytes(run.student, weights)
    text = "# The best chain of a search. Load its student with dgkd_search.load_student(FOLDER).\n"
    value = with_checksum(best.to_json())
    text += to_yaml_text(value)
    write_bytes(run.best, text.encode())


def load_best(path: Path | str) -> BestConfig:
    """Load best.yaml.

    Args:
        path: the file or its folder.

    Raises:
        InputError: it is missing, damaged or of an unsupported format.
    """
    path = Path(path)
    file = path / "best.yaml" if path.is_dir() else path
    try:
        value = load_yaml(read_limited(file, YAML_BYTES).decode())
    except OSError as error:
        raise InputError(
            f"{file}: can't be read ({error.strerror}); a finished search writes it"
        ) from None
    except (TooLarge, TooComplex) as error:
        raise _damaged(file, str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "format" not in value:
        raise _damaged(file)
    if value["format"] not in _READABLE:
        raise InputError(
            f"{file}: its format is {value['format']!r}, this version reads "
            f"{', '.join(map(str, _READABLE))}; use the version of dgkd-search that wrote it"
        )
    try:
        if value["format"] != _UNSEALED:
            value = verify_checksum(value, file.name)
        return BestConfig.from_json(value)
    except (InputError, *UNREADABLE, LookupError):
        raise _damaged(file) from None


# Exceptions that malformed values raise when a model is built from them.
_MALFORMED = (InputError, LookupError, RuntimeError, SafetensorError, *UNREADABLE)


def _damaged(file: Path, why: str = "") -> InputError:
    reason = f" ({why})" if why else ""
    return InputError(f"{file}: is damaged{reason}; --resume of its run rewrites it")


class Student(nn.Module):
    """A trained student with its normalization, ready for images.

    Attributes:
        classes: class names, in the order of the outputs.
        image_size: expected height and width, in pixels.
        channels: 1 for gray, 3 for color.
    """

    def __init__(self, network: nn.Module, info: DataInfo) -> None:
        super().__init__()
        self.normalize = Normalize(info.mean, info.std)
        self.network = network
        self.classes = info.classes
        self.image_size = info.image_size
        self.channels = info.channels

    @property
    def normalise(self) -> nn.Module:
        """An earlier name of ``normalize``."""
        return self.normalize

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float [B, classes].

        Args:
            images: [B, channels, size, size], uint8 or float, pixels in 0..255. Multiply images in
                [0, 1] by 255.
        """
        logits: Tensor = self.network(self.normalize(images))
        return logits


def load_student(path: Path | str) -> Student:
    """Load the best student of a run, on the CPU, in eval mode.

    Args:
        path: a run folder, or a folder that ``dgkd-search export`` wrote.

    Raises:
        InputError: best.yaml or the weights are missing or damaged, or don't match.
    """
    best = load_best(path)
    described = Path(path) / "best.yaml" if Path(path).is_dir() else Path(path)
    file = described.with_name("student.safetensors")
    try:
        weights = read_limited(file, tensors_limit())
    except (TooLarge, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{file}: can't be read ({why}); --resume of its run rewrites it"
        ) from None
    try:
        matches = best.weights is not None and sha256(weights) == best.weights.sha256
        spec = best.stages[-1]
        origin, name = spec.architecture.origin, spec.architecture.family
        known = get_family(name).code if not origin or name in family_names() else None
    except _MALFORMED:
        raise _damaged(described) from None
    if known is None:  # security: a file must not choose which module is imported
        raise InputError(
            f"{described}: its network is from a custom family; name its module with "
            f"--models {origin}, or import the module first in Python"
        )
    if known != spec.architecture.code:
        raise InputError(
            f"{described}: the code of {origin} has changed since its network was trained; "
            "restore that code"
        )
    try:
        if matches and parameter_count(spec.architecture) > len(weights):
            raise ValueError("more parameters than bytes")  # found before they are allocated
        student = Student(load_model(spec, weights), best.data) if matches else None
    except NetworkError as error:
        raise InputError(f"{described}: {error}") from None
    except _MALFORMED:
        raise _damaged(described) from None
    if student is None:
        raise InputError(
            f"{file}: its checksum isn't the one in best.yaml; --resume of its run rewrites it"
        )
    student.eval()
    return student
