"""Checksums of the user's own parts of a search: a run can be resumed only with the same parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dgkd_search.distillation.guidances.registry import guidance_code
from dgkd_search.errors import InputError
from dgkd_search.models import get_family
from dgkd_search.models.architecture import Architecture
from dgkd_search.results.definition import LATER_CHECKSUMS, SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.config import StudyConfig
from dgkd_search.study.strategies import PRUNERS, SAMPLERS

_TEACHER_HINT = "name their file with --teacher-weights, or start a new run"
_CODE_HINT = "restore it, or start a new run"
# The keys are those of a SearchDefinition.
_PARTS = {
    "given": ("weights of its teacher", _TEACHER_HINT),
    "code": ("code of its models", _CODE_HINT),
    "loss": ("code of its loss", _CODE_HINT),
    "guidance": ("code of its guidances", _CODE_HINT),
    "sampler": ("code of its sampler", _CODE_HINT),
    "pruner": ("code of its pruner", _CODE_HINT),
}


def own_checksums(config: StudyConfig, pretrained: str, start: str = "") -> dict[str, str]:
    """Return the checksums of the user's own parts of a study, by name.

    Args:
        pretrained: checksum of the teacher's pretrained weights, or empty.
        start: ``start_checksums`` of the models.
    """
    checksums = {
        "given": pretrained,
        "code": get_family(config.family).code,
        "start": start,
        "loss": config.distillation.loss.code,
        "guidance": guidance_code(config.space.guidances),
        "sampler": SAMPLERS.code(config.sampler),
        "pruner": PRUNERS.code(config.pruner),
    }
    return {name: checksum for name, checksum in checksums.items() if checksum}


def check_own_parts(run: RunFolder, begun: SearchDefinition, now: Mapping[str, str]) -> None:
    """Compare the present parts with those that a run was started with.

    Args:
        now: ``own_checksums`` of the present parts.

    Raises:
        InputError: a part has changed.
    """
    for name, (what, hint) in _PARTS.items():
        if name in LATER_CHECKSUMS and name not in begun.checksums:
            continue
        if begun.checksums.get(name) != now.get(name):
            raise InputError(f"{run.path}: the run was started with other {what}; {hint}")
    _check_start(run, begun.checksums.get("start", ""), now.get("start", ""))


def start_checksums(models: Iterable[Architecture]) -> str:
    """Return the names of those models that load start weights, with the checksums of these."""
    return ",".join(f"{model.name}={model.start}" for model in models if model.start)


def _check_start(run: RunFolder, begun: str, now: str) -> None:
    # A run of an early version records none. Its store may hold models that began with others.
    if begun == now:
        return
    differing = {*begun.split(",")} ^ {*now.split(",")}
    names = sorted({entry.partition("=")[0] for entry in differing if entry})
    raise InputError(
        f"{run.path}: the constructors of its models {', '.join(names)} load other start weights "
        "than when the run was started, or an early version didn't record them; restore their "
        "files, or start a new run"
    )
