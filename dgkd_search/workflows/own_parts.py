"""Checksums of the user's own parts of a search: a run can be resumed only with the same parts."""

from __future__ import annotations

from collections.abc import Mapping

from dgkd_search.distillation.guidances.registry import guidance_code
from dgkd_search.errors import InputError
from dgkd_search.models import get_family
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


def own_checksums(config: StudyConfig, pretrained: str) -> dict[str, str]:
    """Return the checksums of the user's own parts of a study, by name.

    Args:
        pretrained: checksum of the teacher's pretrained weights, or empty.
    """
    checksums = {
        "given": pretrained,
        "code": get_family(config.family).code,
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
