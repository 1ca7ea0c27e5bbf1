"""The networks of chains. Names are imported on first access."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgkd_search.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from dgkd_search.models.architecture import Architecture
    from dgkd_search.models.custom import family, load_families
    from dgkd_search.models.families import Family, Member
    from dgkd_search.models.registry import (
        build,
        family_names,
        get_family,
        parameter_count,
        register,
        validate_custom_model,
    )

__all__ = [
    "Architecture",
    "Family",
    "Member",
    "build",
    "family",
    "family_names",
    "get_family",
    "load_families",
    "parameter_count",
    "register",
    "validate_custom_model",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Architecture": "dgkd_search.models.architecture",
        "Family": "dgkd_search.models.families",
        "Member": "dgkd_search.models.families",
        "build": "dgkd_search.models.registry",
        "family": "dgkd_search.models.custom",
        "family_names": "dgkd_search.models.registry",
        "get_family": "dgkd_search.models.registry",
        "load_families": "dgkd_search.models.custom",
        "parameter_count": "dgkd_search.models.registry",
        "register": "dgkd_search.models.registry",
        "validate_custom_model": "dgkd_search.models.registry",
    },
)
